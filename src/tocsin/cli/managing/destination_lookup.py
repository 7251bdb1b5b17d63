"""Finding a destination by its name or its id."""

from __future__ import annotations

from typing import Any

from tocsin.cli.client.api import segment
from tocsin.cli.client.session import Session
from tocsin.cli.exits import NOT_FOUND, USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.watching.paging import listed

_PREFIXES = ("dst_", "ep_")


def all_destinations(session: Session) -> list[dict[str, Any]]:
    """Return every destination, oldest first."""
    return list(listed(session, "/api/v1/destinations", "destinations"))


def find_destination(session: Session, text: str) -> dict[str, Any]:
    """Return the destination of this id, else the only one of this name.

    Raises:
        Failure: there is none, or there are several.
    """
    if text.startswith(_PREFIXES):
        found: dict[str, Any] = session.api.get(f"/api/v1/destinations/{segment(text)}")
        return found
    named = [each for each in all_destinations(session) if each["name"] == text]
    if not named:
        raise Failure(NOT_FOUND, f"there is no destination {text}; tocsin destinations list shows those there are")
    if len(named) > 1:
        raise Failure(USAGE, f"{len(named)} destinations are named {text}; give the id: {named[0]['id']}, ...")
    return named[0]


def id_of(session: Session, text: str) -> str:
    """Return the id of the only destination of this name; an id is returned as it is, since history outlives one.

    Raises:
        Failure: there is none of this name, or there are several.
    """
    return text if text.startswith(_PREFIXES) else str(find_destination(session, text)["id"])


def path_of(session: Session, text: str) -> str:
    """Return the path of a destination's routes.

    Raises:
        Failure: there is none.
    """
    return f"/api/v1/destinations/{find_destination(session, text)['id']}"
