"""Removing one thing, once somebody has agreed to it."""

from __future__ import annotations

from tocsin.cli.client.asking import ask
from tocsin.cli.client.session import Session


def remove(session: Session, path: str, name: str, deed: str, *, yes: bool, done: str = "deleted") -> None:
    """Ask, remove what is below a path under this name, and print what the gateway says to it.

    Args:
        deed: as ``ask`` takes it.
        done: what is printed that it is now, where the gateway says nothing.

    Raises:
        Failure: there is nobody to ask, or no such thing.
    """
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without

    ask(deed, yes=yes)
    told = session.api.call("DELETE", f"{path}/{segment(name)}")
    session.out.record(told or {"id": name, done: True})
