"""Jetty as a slot: a base of its own over an installed Jetty 9.4. Its sessions are not shared between slots."""
