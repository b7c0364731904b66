"""What is started: the gateway, web, worker and poller, `tocsin up` that starts them all, and the commands.

Here parts are made and joined, and loops run; what a part does stands where the part is. A process that meets an error
nobody foresaw ends, and its supervisor starts a whole one.
"""
