"""Kills at each step of a release under load, and what became of the users: `scripts/bench faults`."""
