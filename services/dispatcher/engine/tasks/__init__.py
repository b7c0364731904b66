"""Questions to offices: which are asked, in which order, and what their answers do. Nothing is broadcast here."""
