"""The sockets that a gateway listens on."""

from __future__ import annotations

import socket
from typing import NoReturn

from tocsin.cli.exits import ADDRESS
from tocsin.cli.gateway.options import fail

_BACKLOG = 2048


def listen(host: str, port: int, *, shared: bool = False, setting: str = "--port") -> socket.socket:
    """Return a socket that listens; end the program where the address is not to be had.

    Args:
        port: 0 picks a free one.
        shared: whether other processes of ours listen on the same port; the kernel deals connections out to them.
        setting: by which another port is chosen.
    """
    try:
        bound = socket.create_server((host, port), family=_family(host), backlog=_BACKLOG, reuse_port=shared)
    except OSError as error:
        _fail(host, port, error, setting)
    bound.setblocking(False)
    return bound


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that keeps a port for processes of ours, without listening; end the program as ``listen``."""
    try:
        # Nobody else listens there: a port that is shared already would be shared once more without a word.
        with socket.create_server((host, port), family=_family(host)) as alone:
            port = alone.getsockname()[1]
        kept = socket.socket(_family(host), socket.SOCK_STREAM)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((host, port))
    except OSError as error:
        _fail(host, port, error, "--port")
    return kept


def url_of(bound: socket.socket) -> str:
    """Return the address of a socket as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _fail(host: str, port: int, error: OSError, setting: str) -> NoReturn:
    where = f"{host} port {port}"
    fail(ADDRESS, f"cannot listen on {where}: {error.strerror or error}; choose another {setting} or --host")
