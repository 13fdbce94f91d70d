"""Decisions without I/O: no socket, no file, no clock of its own."""
