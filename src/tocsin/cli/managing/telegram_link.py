"""Connecting a Telegram chat: a link is shown, and somebody follows it."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from tocsin.cli.client.session import Session
from tocsin.cli.exits import FAILED
from tocsin.cli.faults import Failure

F = TypeVar("F", bound=Callable[..., Any])

_LOOK_EVERY_S = 1.0
_WAITING = "waiting"
_CONNECTED = "connected"


def wait_option(function: F) -> F:
    """Add ``--no-wait``."""
    return click.option("--no-wait", is_flag=True, help="Print the link, and do not wait until somebody follows it.")(
        function
    )


def connect(session: Session, path: str, *, no_wait: bool) -> None:
    """Make a link and print it; return once somebody has followed it.

    Args:
        path: the route of the link.

    Raises:
        Failure: nobody has, until the link expired, or it failed.
    """
    link = session.api.post(path)
    session.out.value(link, "url")
    if no_wait:
        return
    session.out.note(f"open it where the Telegram account is; it is good until {link['expires_at']}")
    try:
        with _spinner(session):
            status = session.api.get(path)
            while status["state"] == _WAITING:
                time.sleep(_LOOK_EVERY_S)
                status = session.api.get(path)
    except KeyboardInterrupt:
        session.out.note("the link stays open")
        raise click.Abort from None
    if status["state"] != _CONNECTED:
        raise Failure(FAILED, f"the link {status['state']}" + (f": {status['error']}" if status["error"] else ""))
    session.out.note("connected")


@contextlib.contextmanager
def _spinner(session: Session) -> Iterator[None]:
    if session.out.quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415  slow to load

    with Console(stderr=True).status("waiting for somebody to follow it"):
        yield
