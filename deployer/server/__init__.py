"""What every kind of slot needs of the machine: its server's user, ports, process and log, and a release's place."""
