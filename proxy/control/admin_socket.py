"""The socket on which the admin API listens."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from proxy.address import Endpoint, UnixEndpoint
from proxy.control.listeners import cannot_listen
from proxy.errors import RefusedError


def open_admin_socket(endpoint: Endpoint | UnixEndpoint) -> socket.socket:
    """Raises RefusedError when it is taken, ConfigurationError when it can't be had."""
    if isinstance(endpoint, UnixEndpoint):
        return _open_unix(endpoint.path)
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((endpoint.host, endpoint.port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise cannot_listen(endpoint, error, "admin.listen") from error
    return opened


def taken_over_admin_socket(descriptor: int) -> socket.socket:
    """The socket that this very process had before an upgrade."""
    return socket.socket(fileno=descriptor)


def _open_unix(path: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        # The mode is that of the umask at bind; a chmod afterwards would leave a moment for others.
        umask = os.umask(0o177)
        try:
            opened.bind(path)
        finally:
            os.umask(umask)
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise RefusedError(
            f"can't listen on unix:{path}: {error.strerror}", "set admin.listen to another path"
        ) from error
    except BaseException:
        opened.close()
        raise
    return opened


def _remove_stale(path: str) -> None:
    """Removes a socket that nobody listens on any more; anything else that is there is an error."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise RefusedError(f"{path} is there and is no socket", "set admin.listen to another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise RefusedError(f"another process listens on {path}", "stop it, or set admin.listen to another path")
