"""Where things are in the project's directory on the server; both ends use these names. Standard library only."""

from __future__ import annotations

DEFAULT_DIRECTORY = "switchyard"
"""The project's directory there, below the home directory of the user who logs in."""
PYTHON = ".venv/bin/python"
STAMP = ".venv/switchyard.sha256"
"""Hash of the wheel that is installed; written last, so that a half-made .venv has none."""
CONFIGURATIONS = ("config/deployer.yaml", "deployer.yaml")
"""Where the deployer looks for its configuration, in this order."""
UPLOADS = "var/remote/uploads"
JOBS = "var/remote/jobs"
WHEELS = "var/remote/wheels"

PART = ".part"
"""How the name of a file ends that is not whole yet."""

NO_DIRECTORY = 71
NO_PYTHON = 72
JOB_LOST = 75
NO_JOB = 76
BAD_HASH = 77
"""Exit codes of the part that runs there; the deployer's own are below 5."""
