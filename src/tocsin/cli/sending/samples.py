"""Realistic events of all five dialects, for trying out and for load."""

from __future__ import annotations

import copy
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from tocsin.cli.client.values import scalar
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure


class Sample(NamedTuple):
    """An event to send.

    Attributes:
        dialect: which API takes it.
        summary: what it is, in a few words.
        body: what an application says. ``{id}`` in a text becomes eight hex digits, anew for each event.
        type: the event's name, in dialects that have it beside the body.
    """

    dialect: str
    summary: str
    body: dict[str, Any]
    type: str = ""


SAMPLES: dict[str, Sample] = {
    "pingpilot.bug": Sample(
        "pingpilot",
        "a fault in an application",
        {
            "category": "bug",
            "description": "Checkout fails for a card that was declined before",
            "fields": {"service": "checkout", "release": "2026.3.1", "retries": 3, "user": "u-{id}", "paying": True},
        },
    ),
    "pingpilot.sale": Sample(
        "pingpilot",
        "a purchase",
        {"category": "sale", "fields": {"plan": "PRO", "amount": 49.99, "currency": "EUR", "invoice": "INV-{id}"}},
    ),
    "pingpilot.question": Sample(
        "pingpilot",
        "a question of a customer",
        {
            "category": "question",
            "description": "Can the report be had as CSV?",
            "fields": {"from": "customer-{id}@example.com", "page": "/reports"},
        },
    ),
    "pushgo.database-lag": Sample(
        "pushgo",
        "an incident of a database",
        {
            "title": "Database lag",
            "status": "ongoing",
            "message": "Replica delay > 30 s on db-{id}",
            "description": "The replica replays slower than the primary writes.",
            "severity": "high",
            "tags": ["database", "replication"],
            "attrs": {"delay_s": 34, "host": {"name": "db-{id}", "zone": "b"}},
        },
    ),
    "pushgo.disk-full": Sample(
        "pushgo",
        "an incident of a machine",
        {
            "title": "Disk nearly full",
            "status": "ongoing",
            "message": "/var has 3 % left on web-{id}",
            "severity": "critical",
            "tags": ["disk"],
            "metadata": {"mount": "/var", "free_percent": 3},
        },
    ),
    "pushgo.certificate": Sample(
        "pushgo",
        "a warning ahead of time",
        {
            "title": "Certificate expires soon",
            "status": "ongoing",
            "message": "shop-{id}.example.com expires in 6 days",
            "severity": "low",
            "thing_id": "cert-{id}",
        },
    ),
    "buildable.user-created": Sample(
        "buildable",
        "a sign-up, for consumers",
        {"id": "{id}", "email": "user-{id}@example.com", "plan": "free", "consents": {"news": False}},
        "user.created",
    ),
    "buildable.invoice-due": Sample(
        "buildable",
        "work to be done, for consumers",
        {"invoice": "INV-{id}", "amount": "120.00", "currency": "EUR", "due": "2026-04-01"},
        "invoice.due",
    ),
    "nativeframe.order-paid": Sample(
        "nativeframe",
        "an event of a project",
        {"order": "ORD-{id}", "total": 129.9, "currency": "USD", "lines": [{"sku": "A-1", "quantity": 2}]},
        "order-paid",
    ),
    "nativeframe.stream-started": Sample(
        "nativeframe",
        "an event of a project",
        {"stream": "live-{id}", "resolution": "1920x1080", "bitrate_kbps": 4500},
        "stream-started",
    ),
    "promptjang.order-created": Sample(
        "promptjang",
        "a signed webhook",
        {
            "event_type": "order.created",
            "payload": {"order_id": "ORD-{id}", "total": "59.00", "items": [{"sku": "B-2", "quantity": 1}]},
        },
    ),
    "promptjang.payment-failed": Sample(
        "promptjang",
        "a signed webhook",
        {
            "event_type": "payment.failed",
            "payload": {"payment_id": "pay_{id}", "reason": "card_declined", "retry": 2},
        },
    ),
}

_PROJECT = "shop"


@dataclass(frozen=True, slots=True)
class Address:
    """What some dialects need to know beside the key.

    Attributes:
        channel, password: PushGo's.
        endpoint, secret: PromptJang's.
        key: Buildable's header carries it.
    """

    key: str | None
    channel: str | None = None
    password: str | None = None
    endpoint: str | None = None
    secret: str | None = None


class Request(NamedTuple):
    """A request to send with POST."""

    path: str
    body: bytes
    headers: dict[str, str]


def find(name: str) -> Sample:
    """Return a sample.

    Raises:
        Failure: there is none of that name.
    """
    if name not in SAMPLES:
        raise Failure(USAGE, f"there is no fixture {name}; tocsin trigger --list shows them")
    return SAMPLES[name]


def with_overrides(body: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """Return a body with some members replaced or added.

    Args:
        overrides: ``path=value``; the path has dots, and numbers for what stands in a list.

    Raises:
        Failure: one has no ``=``, or leads through what is neither an object nor a list.
    """
    changed = copy.deepcopy(body)
    for text in overrides:
        path, equals, value = text.partition("=")
        *before, last = path.split(".")
        if not equals or not last:
            raise Failure(USAGE, f"--override takes path=value, and {text!r} is not that")
        place: Any = changed
        for part in before:
            place = place.setdefault(part, {}) if isinstance(place, dict) else _item(place, part, path)
        if isinstance(place, dict):
            place[last] = scalar(value)
        else:
            _item(place, last, path)
            place[int(last)] = scalar(value)
    return changed


def _item(place: Any, part: str, path: str) -> Any:
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return place[int(part)]
    raise Failure(USAGE, f"--override {path}: there is nothing at {part}")


def request_for(sample: Sample, body: dict[str, Any], address: Address) -> Request:
    """Return the request that sends a body as of now, its ``{id}`` filled in."""
    filled = _filled(body, secrets.token_hex(4))
    if sample.dialect == "pingpilot":
        return Request("/api/v1/event", _json(filled), {})
    if sample.dialect == "pushgo":
        entry = {"channel_id": address.channel, "password": address.password}
        return Request("/event/create", _json({"event_time": time.time_ns() // 1_000_000, **filled, **entry}), {})
    if sample.dialect == "buildable":
        secret = {} if address.key is None else {"X-Buildable-Secret": address.key}
        return Request("/emit", _json({"event": sample.type, "payload": filled}), secret)
    if sample.dialect == "nativeframe":
        return Request(f"/events/v2/projects/{_PROJECT}/events/{sample.type}", _json(filled), {})
    from tocsin.cli.client.api import segment  # noqa: PLC0415  the list of samples does without
    from tocsin.cli.sending.ingest import signed  # noqa: PLC0415

    assert address.endpoint is not None
    assert address.secret is not None
    data = _json(filled)
    return Request(f"/e/{segment(address.endpoint)}", data, signed(address.secret, data))


def _filled(value: Any, identifier: str) -> Any:
    if isinstance(value, str):
        return value.replace("{id}", identifier)
    if isinstance(value, dict):
        return {name: _filled(each, identifier) for name, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, identifier) for each in value]
    return value


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
