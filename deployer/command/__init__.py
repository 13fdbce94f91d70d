"""Any server as a slot: one file is the release, and a command starts it with its port."""
