"""Tomcat as a slot: an instance's files, its process, and the facts it gives over HTTP."""
