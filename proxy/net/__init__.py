"""Sockets of one worker process: client and backend connections, and what joins them."""
