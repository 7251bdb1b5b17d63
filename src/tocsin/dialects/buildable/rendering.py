"""From standings and transactions to the objects that Buildable's clients read: pure."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.errors import TocsinError
from tocsin.core.event import Event
from tocsin.core.identifiers import created_ms, digest, hex32
from tocsin.core.transaction import StateChange, Transaction
from tocsin.dialects.buildable.parsing import DOES_NOT_EXIST
from tocsin.engine.rows import Page
from tocsin.pipeline.consumption import Standing
from tocsin.web.errors import retry_after, status_of
from tocsin.web.http import Request, Response, json_response

KEY_MEMBER = "key_id"
"""Where an event's extension keeps the key that emitted it, as 32 hex digits."""

ERROR_NAMES = {
    400: "invalid-request",
    401: "invalid-secret",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "request-timeout",
    409: "conflict",
    413: "payload-too-large",
    415: "unsupported-media-type",
    422: "invalid-request",
    429: "rate-limited",
    503: "unavailable",
}
"""The ``name`` of every status that a caller's mistake or a busy gateway has; the rest is ``internal-error``."""


class Lifetime(msgspec.Struct, frozen=True):
    """What ``ttl`` is reckoned from.

    Attributes:
        now_ms: the moment of the answer.
        retention_ms: how long events are kept; None is for ever.
    """

    now_ms: int
    retention_ms: int | None

    def left_ms(self, event_id: bytes) -> int | None:
        """Return for how long an event is still kept; None where it is for ever."""
        if self.retention_ms is None:
            return None
        return max(0, created_ms(event_id) + self.retention_ms - self.now_ms)


def event_object(standing: Standing, lifetime: Lifetime) -> dict[str, Any]:
    """Return an event as its consumer group sees it, ``payload``, ``query`` and ``headers`` as objects."""
    event = standing.event
    transaction = standing.transaction
    history = () if transaction is None else transaction.history
    return {
        "_id": hex32(event.id),
        "key": hex32(event.id),
        "eventName": event.type,
        "environment": event.environment.value,
        "payload": msgspec.Raw(event.data),
        "query": {},
        "headers": {},
        "createdAt": created_ms(event.id),
        "state": DOES_NOT_EXIST if standing.state is None else standing.state.value,
        "history": _history(history),
        "ttl": lifetime.left_ms(event.id),
        "v": 1 + (0 if transaction is None else transaction.steps_made),
        "ownership": _ownership(event),
        "processing": {
            "hasTransactions": standing.transactions_total > 0,
            "totalTransactions": standing.transactions_total,
            "hasFutureTransactions": standing.state is None,
            "isCompleted": standing.transactions_total > 0 and standing.transactions_open == 0,
        },
    }


def page_row(standing: Standing, lifetime: Lifetime) -> dict[str, Any]:
    """Return a row of /query, where ``payload``, ``query`` and ``headers`` are JSON-encoded strings."""
    payload = standing.event.data.decode()
    return event_object(standing, lifetime) | {"payload": payload, "query": "{}", "headers": "{}"}


def page_members(page: Page[Standing], *, number: int, size: int) -> dict[str, Any]:
    """Return what a page of /query says beside its ``rows``.

    Args:
        number: of this page, from 1.
        size: rows on a page.
    """
    rendered = {
        "total": page.total,
        "page": number,
        "pageSize": size,
        "totalPages": -(-page.total // size),
    }
    return rendered if page.total_is_exact else rendered | {"totalIsExact": False}


def around_rows(page: Page[Standing], *, number: int, size: int) -> tuple[bytes, bytes]:
    """Return a page of /query without its rows: what stands before and behind them."""
    members = msgspec.json.encode(page_members(page, number=number, size=size))
    return b'{"rows":[', b"]," + members[1:]


def transaction_object(transaction: Transaction, lifetime: Lifetime) -> dict[str, Any]:
    """Return a transaction; ``output`` is there once it was given."""
    key = hex32(transaction.event_id)
    name = hex32(digest(transaction.event_id, transaction.tx_key.encode()))
    history = transaction.history
    rendered = {
        "_id": name,
        "key": key,
        "txn": name,
        "event": {"_id": key, "eventName": transaction.event_type},
        "createdAt": history[0].at_ms if history else transaction.started_ms,
        "ttl": lifetime.left_ms(transaction.event_id),
        "state": transaction.state.value,
        "history": _history(history),
        "startedAt": transaction.started_ms,
        "txKey": transaction.tx_key,
        "endedAt": transaction.ended_ms,
    }
    return rendered if transaction.output is None else rendered | {"output": transaction.output}


def error_response(request: Request, error: TocsinError) -> Response:  # noqa: ARG001  the signature of a renderer
    """Return an error in the family's form."""
    status = status_of(error)
    body = {"status": "error", "message": error.detail, "name": ERROR_NAMES.get(status, "internal-error")}
    return json_response(status, body, retry_after(error))


def _ownership(event: Event) -> dict[str, str]:
    key_id = str(event.extension.get(KEY_MEMBER, ""))
    return {"buildableId": hex32(event.organisation_id), "userId": key_id, "clientId": key_id}


def _history(history: tuple[StateChange, ...]) -> list[dict[str, Any]]:
    return [
        {
            "enterState": step.entered,
            "exitState": DOES_NOT_EXIST if step.left is None else step.left,
            "timestamp": step.at_ms,
            "updatedBy": step.by,
        }
        for step in history
    ]
