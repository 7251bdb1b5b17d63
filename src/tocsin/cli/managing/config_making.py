"""Making each kind of thing that a configuration holds; none is sent anything before it is as the document has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tocsin.cli.client.api import segment
from tocsin.cli.client.session import Session
from tocsin.cli.managing.config_file import CONTACTS, WEBHOOK
from tocsin.cli.managing.destination_lookup import all_destinations

Make = Callable[[Session, dict[str, Any]], dict[str, Any]]
"""Makes one thing; returns what the gateway says of it, an ``id`` and a ``secret`` where it has them."""

_OF_ITS_ROUTES = ("url", "project", *WEBHOOK)


def make_destination(session: Session, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a destination; one that is paused is made disabled, since it would be sent to before it is paused.

    Raises:
        Failure: the gateway refuses.
    """
    body = {name: value for name, value in wanted.items() if value is not None and name != "paused"}
    paused = wanted.get("paused", False)
    made: dict[str, Any] = session.api.post("/api/v1/destinations", body | ({"enabled": False} if paused else {}))
    if paused:
        _change(session, made["id"], {"enabled": wanted.get("enabled", True), "paused": True})
    return made


def make_endpoint(session: Session, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a PromptJang endpoint; nobody knows its id, and so sends to it, before all of it is there.

    Raises:
        Failure: the gateway refuses.
    """
    url = wanted.get("address", {}).get("url")
    made: dict[str, Any] = session.api.post(
        "/api/v1/endpoints", {"url": url, "description": wanted.get("description", "")}
    )
    own = session.api.get(f"/api/v1/destinations/{made['id']}")["filter"]
    changes = {name: value for name, value in wanted.items() if name not in ("transport", "description")}
    if wanted["name"] == url:
        del changes["name"]
    changes["filter"] = {**wanted.get("filter", {}), **{name: own[name] for name in ("dialects", "sources")}}
    _change(session, made["id"], changes)
    return made


def make_webhook(session: Session, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a Native Frame webhook, and add what its own routes have no word for.

    Raises:
        Failure: the gateway refuses.
    """
    path = f"/events/v2/projects/{segment(str(wanted.get('project')))}/webhooks/{segment(wanted['name'])}"
    made: dict[str, Any] = session.api.call("PUT", path, {name: wanted[name] for name in WEBHOOK if name in wanted})
    (found,) = [
        each
        for each in all_destinations(session)
        if each["origin"] == "nativeframe" and each["name"] == wanted["name"]
    ]
    rest = {name: value for name, value in wanted.items() if name not in (*_OF_ITS_ROUTES, "name")}
    _change(session, found["id"], rest)
    return {**made, "id": found["id"]}


def make_category(session: Session, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a category.

    Raises:
        Failure: the gateway refuses.
    """
    body = {name: value for name, value in wanted.items() if value is not None}
    made: dict[str, Any] = session.api.post("/api/v1/categories", body)
    return made


def put_contacts(session: Session, here: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Add these contacts to the account; the others stay, their hidden secrets too.

    Raises:
        Failure: the gateway refuses.
    """
    session.api.call("PUT", "/api/v1/account", {**{name: here[name] for name in CONTACTS}, **wanted})


MAKERS: dict[str, Make] = {
    "destinations": make_destination,
    "endpoints": make_endpoint,
    "webhooks": make_webhook,
    "categories": make_category,
}
"""How each list of a document is made, in the order in which they are."""


def _change(session: Session, destination_id: str, changes: dict[str, Any]) -> None:
    session.api.call("PATCH", f"/api/v1/destinations/{destination_id}", changes)
