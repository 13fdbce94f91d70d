"""What a supervisor had decided when it died: a worker that waits for a switch finds its outcome in the state file.

The supervisor writes the switch down before it orders it (proxy.control.state). So all workers that wait for that order
find the same, and none serves the old slot while another one that has heard of it serves the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

STATE_FILE: Final = "state.json"


def decided_epochs(state_dir: str) -> dict[str, int]:
    """App -> the epoch of its last switch. Empty when the file can't be read: then nothing is known of a switch."""
    try:
        state = json.loads((Path(state_dir) / STATE_FILE).read_bytes())
        return {name: int(app["epoch"]) for name, app in state["apps"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}
