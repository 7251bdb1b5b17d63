"""The configuration as a document: without secrets and without ids, so that another gateway can be made like it."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tocsin.cli.client.session import Session
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.managing.destination_lookup import all_destinations
from tocsin.cli.watching.paging import listed

KIND = "tocsin-configuration"
VERSION = 1
MASK = "***"
"""What the gateway shows in place of a secret."""

_OF_ONE_GATEWAY = frozenset(
    {
        "id",
        "origin",
        "learned",
        "state",
        "disabled_reason",
        "failing_since",
        "condition_failure",
        "revision",
        "created_at",
        "updated_at",
    }
)
"""What is shown of a destination and cannot be asked for; all else is exported, what later versions add included."""

_OF_OURS = "tocsin"
_OF_PROMPTJANG = "promptjang"
_OF_NATIVE_FRAME = "nativeframe"
_PROJECT_SOURCE = "nativeframe/project/"
_LISTS = ("destinations", "endpoints", "webhooks", "categories", "channels")
CONTACTS = ("discord", "telegram", "email")
"""The members of an account, but for the plan, which is the operator's to give."""


def configuration(session: Session) -> dict[str, Any]:
    """Return what can be made again: destinations, the dialects' too, people, categories, names of channels."""
    every = all_destinations(session)
    account = session.api.get("/api/v1/account")
    return {
        "kind": KIND,
        "version": VERSION,
        "destinations": [_members(each) for each in every if each["origin"] == _OF_OURS],
        "endpoints": [_endpoint(each) for each in every if each["origin"] == _OF_PROMPTJANG],
        "webhooks": _webhooks(session, [each for each in every if each["origin"] == _OF_NATIVE_FRAME]),
        "account": {name: account[name] for name in CONTACTS},
        "categories": session.api.get("/api/v1/categories")["categories"],
        "channels": [{"name": each["name"]} for each in listed(session, "/api/v1/channels", "channels")],
    }


def _members(destination: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in destination.items() if name not in _OF_ONE_GATEWAY}


def _endpoint(destination: dict[str, Any]) -> dict[str, Any]:
    """Return a PromptJang endpoint; its id, which stands in its filter and may be its name, is made anew."""
    members = _members(destination)
    wanted = {name: value for name, value in members["filter"].items() if name not in ("dialects", "sources")}
    is_named = bool(members["description"])
    return {**members, "name": members["name"] if is_named else members["address"]["url"], "filter": wanted}


def _webhooks(session: Session, destinations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Native Frame's webhooks as their routes show them, with the rest of what a destination has.

    One whose filter was changed to something else belongs to no project, and none of these routes makes it again.
    """
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the help does without

    rest = {each["name"]: _members(each) for each in destinations}
    sources = {source for each in destinations for source in each["filter"]["sources"]}
    projects = sorted(each.removeprefix(_PROJECT_SOURCE) for each in sources if each.startswith(_PROJECT_SOURCE))
    return [
        {**{name: value for name, value in rest[each["name"]].items() if name not in _WEBHOOK_SAYS}, **each}
        for project in projects
        for each in session.api.get(f"/events/v2/projects/{segment(project)}/webhooks")
        if each["name"] in rest
    ]


_WEBHOOK_SAYS = ("name", "transport", "address", "timeout_s")
"""Members of a destination that a webhook's own routes have other words for."""

WEBHOOK = ("event", "url", "method", "headers", "maxAttempts", "timeoutSeconds", "responseHeaders")
"""What a webhook's own routes take."""


def left_out(session: Session, document: dict[str, Any]) -> list[str]:
    """Return the names of the destinations that a document cannot hold: webhooks that belong to no project."""
    held = {each["name"] for each in document["webhooks"]}
    of_native_frame = [each["name"] for each in all_destinations(session) if each["origin"] == _OF_NATIVE_FRAME]
    return [name for name in of_native_frame if name not in held]


def checked(document: Any) -> dict[str, Any]:
    """Return the members of a document that ``configuration`` made.

    Raises:
        Failure: it is another kind of document, or from a later version.
    """
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise Failure(USAGE, "this is no configuration; tocsin export --what config writes one")
    if document.get("version") != VERSION:
        raise Failure(USAGE, f"its version is {document.get('version')}, and this program reads {VERSION}")
    found: dict[str, Any] = {name: document.get(name, []) for name in _LISTS}
    for name, each in found.items():
        if not isinstance(each, list) or not all(isinstance(one, dict) and "name" in one for one in each):
            raise Failure(USAGE, f"{name} must be a list of objects with a name")
    account = document.get("account", {})
    if not isinstance(account, dict) or not all(isinstance(account.get(name, {}), dict) for name in CONTACTS):
        raise Failure(USAGE, f"account must be an object with {', '.join(CONTACTS)}, each an object")
    return {**found, "account": {name: account.get(name, {}) for name in CONTACTS}}


def urls_with_secrets(document: dict[str, Any]) -> list[str]:
    """Return the names of the destinations whose URL has a query or a user: many a service has its key there."""
    found = []
    for each in [*document["destinations"], *document["endpoints"], *document["webhooks"]]:
        url = each.get("url", (each.get("address") or {}).get("url"))
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        if parts.query or "@" in parts.netloc:
            found.append(each["name"])
    return found


def secrets_in(value: Any, path: str = "") -> list[str]:
    """Return where a value holds a mask in place of a secret."""
    if isinstance(value, dict):
        return [found for name, each in value.items() for found in secrets_in(each, f"{path}.{name}".strip("."))]
    return [path] if isinstance(value, str) and MASK in value else []
