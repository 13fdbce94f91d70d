"""`--host user@server`: the same commands, run on the server over SSH. `there` is the part that runs on the server.

Nothing here is imported unless a host is named: asyncssh costs more than the rest of a command's start.
"""
