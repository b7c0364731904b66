"""What runs in the emergency office. So far one service, the dispatcher."""
