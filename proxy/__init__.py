"""The public front server: forwards to the active slot, serves static files, switches slots in-process."""
