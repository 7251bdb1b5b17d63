"""The configuration as a document: without secrets and without ids, so that another gateway can be made like it."""

from __future__ import annotations

from typing import Any

from tocsin.cli.client.session import Session
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.managing.destination_lookup import all_destinations
from tocsin.cli.watching.paging import listed

KIND = "tocsin-configuration"
VERSION = 1
MASK = "***"
"""What the gateway shows in place of a secret."""

_DESTINATION = (
    "name",
    "description",
    "transport",
    "address",
    "filter",
    "format",
    "retry",
    "timeout_s",
    "rate_per_s",
    "concurrency",
    "ordered",
    "enabled",
)
_OF_OURS = "tocsin"
_LISTS = ("destinations", "categories", "channels")


def configuration(session: Session) -> dict[str, Any]:
    """Return what can be made again by hand: destinations, categories, and the names of channels.

    Destinations that another dialect's routes made belong to these (an endpoint's id is part of a URL) and are left
    out.
    """
    return {
        "kind": KIND,
        "version": VERSION,
        "destinations": [
            {name: each[name] for name in _DESTINATION}
            for each in all_destinations(session)
            if each["origin"] == _OF_OURS
        ],
        "categories": session.api.get("/api/v1/categories")["categories"],
        "channels": [{"name": each["name"]} for each in listed(session, "/api/v1/channels", "channels")],
    }


def checked(document: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the lists of a document that ``configuration`` made.

    Raises:
        Failure: it is another kind of document, or from a later version.
    """
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise Failure(USAGE, "this is no configuration; tocsin export --what config writes one")
    if document.get("version") != VERSION:
        raise Failure(USAGE, f"its version is {document.get('version')}, and this program reads {VERSION}")
    found = {name: document.get(name, []) for name in _LISTS}
    for name, each in found.items():
        if not isinstance(each, list) or not all(isinstance(one, dict) and "name" in one for one in each):
            raise Failure(USAGE, f"{name} must be a list of objects with a name")
    return found


def secrets_in(value: Any, path: str = "") -> list[str]:
    """Return where a value holds a mask in place of a secret."""
    if isinstance(value, dict):
        return [found for name, each in value.items() for found in secrets_in(each, f"{path}.{name}".strip("."))]
    return [path] if isinstance(value, str) and MASK in value else []
