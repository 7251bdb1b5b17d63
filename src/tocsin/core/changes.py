"""How changes of what the catalog holds are told in the audit trail: by name, and by value where it is no secret."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.destination import Destination
from tocsin.core.identifiers import crockford, prefixed
from tocsin.core.organisation import ApiKey, Category, Channel, Organisation, ServiceKey

Audited = Organisation | ApiKey | ServiceKey | Channel | Category | Destination
"""What the catalog holds, and whose changes are told."""


class Change(msgspec.Struct, frozen=True):
    """What a change of one thing is called, and what is told of it."""

    action: str
    subject: str
    summary: dict[str, Any]


_NOUNS: dict[type[Audited], str] = {
    Organisation: "organisation",
    ApiKey: "key",
    ServiceKey: "service_key",
    Channel: "channel",
    Category: "category",
    Destination: "destination",
}

_SHOWN: dict[type[Audited], tuple[str, ...]] = {
    Organisation: ("name", "plan", "jwks_url"),
    ApiKey: ("name", "environment", "scopes"),
    ServiceKey: ("algorithm",),
    Channel: ("name",),
    Category: ("name", "color", "emoji"),
    Destination: (
        "name",
        "transport",
        "origin",
        "format",
        "timeout_s",
        "rate_per_s",
        "concurrency",
        "ordered",
        "incidents",
        "quiet_hours",
        "enabled",
        "paused",
    ),
}
"""The fields whose values are told; of another one only that it changed, since it may hold a secret or be long."""

_UNTOLD = frozenset({"revision", "updated_ms", "disabled_reason", "failing_since_ms", "learned"})
"""Fields that change by themselves, or with others."""

_ONE_FIELD: dict[tuple[str, bool], str] = {
    ("paused", True): "paused",
    ("paused", False): "resumed",
    ("enabled", True): "enabled",
    ("enabled", False): "disabled",
}
"""The words for a change of a destination's one field."""


def subject_of(entity: Audited) -> str:
    """Return how the API names an entity."""
    if isinstance(entity, Organisation):
        return prefixed("org", entity.id)
    if isinstance(entity, ApiKey):
        return prefixed("key", entity.id)
    if isinstance(entity, Destination):
        return prefixed("dst", entity.id)
    if isinstance(entity, Channel):
        return crockford(entity.id)
    return entity.name if isinstance(entity, Category) else entity.id.hex()


def created(entity: Audited) -> Change:
    """Return what the making of an entity is told as."""
    summary = {name: _value(entity, name) for name in _SHOWN[type(entity)]}
    return _change(entity, "created", summary | _host(entity))


def removed(entity: Audited) -> Change:
    """Return what the removal of an entity is told as."""
    return _change(entity, "deleted", {"name": entity.name} if hasattr(entity, "name") else {})


def updated(before: Audited, after: Audited) -> Change | None:
    """Return what a change of an entity is told as, or None where nothing that counts differs."""
    names = [
        name
        for name in after.__struct_fields__
        if name not in _UNTOLD and getattr(before, name) != getattr(after, name)
    ]
    if not names:
        return None
    shown = _SHOWN[type(after)]
    changed: dict[str, Any] = {
        name: {"from": _value(before, name), "to": _value(after, name)} for name in names if name in shown
    }
    if _host(before) != _host(after):
        changed["host"] = {"from": _host(before).get("host"), "to": _host(after).get("host")}
    summary: dict[str, Any] = {
        "changed": changed,
        "also": sorted({_plain(name) for name in names if name not in shown}),
    }
    if isinstance(after, Category):
        return _change(before, "updated", summary)
    return _change(after, _verb(names, after), {"name": getattr(after, "name", None)} | summary)


def _verb(names: list[str], after: Audited) -> str:
    if isinstance(after, Destination) and len(names) == 1:
        if names[0] == "secrets":
            return "secret_rotated"
        return _ONE_FIELD.get((names[0], getattr(after, names[0]) is True), "updated")
    return "updated"


def _value(entity: Audited, name: str) -> Any:
    value = getattr(entity, name)
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return sorted(value) if isinstance(value, frozenset) else value


def _plain(name: str) -> str:
    """Return a field's name as its users know it."""
    return name.removeprefix("sealed_").removesuffix("_hash")


def _host(entity: Audited) -> dict[str, Any]:
    """Return where a webhook leads: scheme, host and port alone, since whole URLs are often secrets."""
    url = entity.address.get("url") if isinstance(entity, Destination) else None
    if not isinstance(url, str):
        return {}
    scheme, _, rest = url.partition("://")
    host = rest.replace("?", "/").replace("#", "/").partition("/")[0]
    return {"host": f"{scheme}://{host.rpartition('@')[2]}"}


def _change(entity: Audited, verb: str, summary: dict[str, Any]) -> Change:
    return Change(f"{_NOUNS[type(entity)]}.{verb}", subject_of(entity), summary)
