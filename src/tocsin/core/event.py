"""The event: the immutable record that every dialect makes and every destination gets.

The fields are CloudEvents' (id, source, type, subject, time, data), with what routing needs beside them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.environment import Environment
from tocsin.core.identifiers import (
    ChannelId,
    EventId,
    OrganisationId,
    bucket_of,
    digest,
    digest_bucket,
    subject_bucket,
)
from tocsin.core.incident import IncidentChange, IncidentState
from tocsin.core.quota import QuotaCharge

__all__ = [
    "INDEXED_BYTES_MAX",
    "TEST_TYPE",
    "Dialect",
    "Draft",
    "Environment",
    "Event",
    "IdempotencyKey",
    "Severity",
    "bucket_for",
    "idempotency_key",
    "is_indexable",
]


TEST_TYPE = "tocsin.test"
"""The type of the event that a destination's test sends."""

INDEXED_BYTES_MAX = 2048
"""Of an event's source, its type and its subject, each in UTF-8. A row of an index has 2,704 bytes on PostgreSQL, in
which a type stands beside the name of a consumer group, ids and words."""


def is_indexable(text: str) -> bool:
    """Return whether a source, type or subject is short enough."""
    return len(text) * 4 <= INDEXED_BYTES_MAX or len(text.encode()) <= INDEXED_BYTES_MAX


class Dialect(StrEnum):
    """The wire API by which an event came in."""

    PUSHGO = "pushgo"
    PINGPILOT = "pingpilot"
    BUILDABLE = "buildable"
    NATIVEFRAME = "nativeframe"
    PROMPTJANG = "promptjang"
    CLOUDEVENTS = "cloudevents"
    TOCSIN = "tocsin"
    """Our own: tests of a destination, and news such as a destination that was disabled."""


class Severity(StrEnum):
    """How urgent, PushGo's four steps."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        source: who says so, ``pushgo/channel/<id>``, ``promptjang/endpoint/<id>``, ...
        type: what happened, in the application's words.
        subject: what it happened to: PushGo's incident or thing, PromptJang's correlation id; the key by which
            ordered destinations keep order.
        time_ms: when it happened; when it was accepted stands in the id.
        data: one JSON document, the bytes that format ``raw`` sends.
        extension: what its dialect needs to show it again and no other part reads.
        incident_state: the state of its incident after this event; the engine fills it in.
        replay_of: the event that this one replays.
        trace: the W3C ``traceparent`` of the request that brought it, where requests are traced.
    """

    id: EventId
    organisation_id: OrganisationId
    dialect: Dialect
    source: str
    type: str
    time_ms: int
    data: bytes
    subject: str | None = None
    severity: Severity | None = None
    environment: Environment = Environment.LIVE
    extension: dict[str, Any] = {}
    incident_state: IncidentState | None = None
    replay_of: EventId | None = None
    trace: str | None = None


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A request's right to happen once.

    Attributes:
        bucket: where the key is kept; a function of the key alone, so that a repeat looks there too.
        digest: 16 bytes over scope and key.
        fingerprint: 16 bytes over what the request asks for; the same key with another is a conflict.
        expires_after_ms: how long a repeat is recognised.
    """

    bucket: int
    digest: bytes
    fingerprint: bytes
    expires_after_ms: int


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What a dialect makes of a request: an event that has no id yet, and the conditions for storing it.

    Attributes:
        idempotency: keys of which each must be new, or belong to the same request as before.
        incident: how the event moves its incident; None for an event without one.
        quota: what the event counts against.
        mailbox_channel: the PushGo channel whose devices get it in their mailboxes.
        mailbox_expires_ms: when a device need not get it any more.
        replay_of: the event that it replays, which is marked, and whose waiting deliveries are cancelled.
    """

    organisation_id: OrganisationId
    dialect: Dialect
    source: str
    type: str
    time_ms: int
    data: bytes
    subject: str | None = None
    severity: Severity | None = None
    environment: Environment = Environment.LIVE
    extension: dict[str, Any] = {}
    idempotency: tuple[IdempotencyKey, ...] = ()
    incident: IncidentChange | None = None
    quota: QuotaCharge | None = None
    mailbox_channel: ChannelId | None = None
    mailbox_expires_ms: int | None = None
    replay_of: EventId | None = None


def idempotency_key(
    organisation_id: OrganisationId,
    scope: str,
    key: str,
    fingerprint: bytes,
    *,
    expires_after_ms: int,
    bucket: int | None = None,
) -> IdempotencyKey:
    """Return the key of ``scope`` in this organisation.

    Args:
        scope: what the client's key is unique within, with the dialect's name in front.
        key: the client's own text.
        fingerprint: 16 bytes over what the request asks for.
        bucket: given when the scope itself lies in a known bucket, as an incident does.
    """
    name = digest(organisation_id, scope.encode(), key.encode())
    return IdempotencyKey(
        bucket=digest_bucket(name) if bucket is None else bucket,
        digest=name,
        fingerprint=fingerprint,
        expires_after_ms=expires_after_ms,
    )


def bucket_for(draft: Draft) -> int | None:
    """Return the bucket in which the draft's event must be stored, or None where any will do.

    Events of one subject share a bucket, so that one shard can order them; an incident's subject is its id. Without a
    subject a replay goes where its original is, and an event whose client may repeat it where its key is kept.
    """
    if draft.subject is not None:
        return subject_bucket(draft.subject)
    if draft.incident is not None and draft.incident.incident_id is not None:
        return bucket_of(draft.incident.incident_id)
    if draft.replay_of is not None:
        return bucket_of(draft.replay_of)
    if draft.idempotency:
        return draft.idempotency[0].bucket
    return None
