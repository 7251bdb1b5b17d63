"""What /message asks for, as a body or as a query: read and judged.

Pure: the channel is authenticated by the caller, between ``judge_message`` and ``complete_message``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.core.event import Severity
from tocsin.core.identifiers import digest
from tocsin.core.text import trim
from tocsin.dialects import strict_json
from tocsin.dialects.pushgo.fields import (
    ENTITY_ID_BYTES_MAX,
    OP_ID_BYTES_MAX,
    Body,
    DataFault,
    canonical,
    check_metadata,
    check_names,
    find_severity,
    identifier_in,
    images_in,
    password_in,
    read_filled_text,
    read_metadata,
    read_required_text,
    read_text,
    read_texts,
    read_time_ms,
    require_channel_id,
    tags_in,
)

REQUIRED = frozenset({"channel_id", "password", "title"})
OPTIONAL = frozenset(
    {
        "body",
        "op_id",
        "thing_id",
        "occurred_at",
        "severity",
        "ttl",
        "url",
        "images",
        "ciphertext",
        "tags",
        "metadata",
    }
)
_FIELDS = REQUIRED | OPTIONAL


class MessageBody(msgspec.Struct, frozen=True, kw_only=True):
    """A message's request after its JSON and types were judged."""

    channel_id: str
    password: str
    op_id: str | None
    thing_id: str | None
    occurred_ms: int | None
    title: str
    body: str | None
    severity: str | None
    ttl_ms: int | None
    url: str | None
    images: list[str]
    tags: list[str]
    metadata: dict[str, Any]
    ciphertext: str | None


class MessageHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is judged before the channel is looked at.

    Attributes:
        op_id: None when the gateway is to make one.
        password: trimmed.
    """

    op_id: str | None
    thing_id: str | None
    password: str


class MessageFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says, every value allowed and in its one spelling: two requests are the same when these are.

    Attributes:
        occurred_ms: as it was sent; None leaves it to the moment of acceptance.
        ttl_ms: the moment of expiry as it was sent, however far ahead.
    """

    title: str
    body: str | None
    severity: Severity
    thing_id: str | None
    occurred_ms: int | None
    ttl_ms: int | None
    url: str | None
    images: list[str]
    tags: list[str]
    metadata: dict[str, Any]
    ciphertext: str | None


def read_message(body: Body) -> MessageBody:
    """Return a request's fields with their types checked; ``invalid_json_data`` otherwise."""
    check_names(body, _FIELDS)
    ciphertext = read_text(body, "ciphertext")
    return MessageBody(
        channel_id=read_required_text(body, "channel_id"),
        password=read_required_text(body, "password"),
        op_id=read_filled_text(body, "op_id"),
        thing_id=read_text(body, "thing_id"),
        occurred_ms=read_time_ms(body, "occurred_at"),
        title=read_required_text(body, "title"),
        body=read_filled_text(body, "body"),
        severity=read_text(body, "severity"),
        ttl_ms=read_time_ms(body, "ttl"),
        url=read_filled_text(body, "url"),
        images=read_texts(body, "images", null_is_absent=False) or [],
        tags=read_texts(body, "tags", null_is_absent=False) or [],
        metadata=read_metadata(body),
        ciphertext=ciphertext if ciphertext is not None and trim(ciphertext) else None,
    )


def body_of_query(query: dict[str, str]) -> Body:
    """Return the body that says the same as a query: lists are split at commas, metadata is JSON, blank is absent."""
    body: Body = {name: value for name, value in query.items() if name in REQUIRED or trim(value)}
    for name in ("tags", "images"):
        if name in body:
            body[name] = [item for item in body[name].split(",") if trim(item)]
    if "metadata" in body:
        try:
            body["metadata"] = strict_json.decode(body["metadata"].encode())
        except MalformedBody:
            raise DataFault("`metadata` must be a JSON object") from None
    return body


def judge_message(message: MessageBody) -> MessageHead:
    """Raise what is wrong before the channel is looked at, in the contract's order from thing_id to metadata."""
    thing_id = None if message.thing_id is None else identifier_in(message.thing_id, "thing_id", ENTITY_ID_BYTES_MAX)
    require_channel_id(message.channel_id)
    password = password_in(message.password)
    op_id = None if message.op_id is None else identifier_in(message.op_id, "op_id", OP_ID_BYTES_MAX)
    if not trim(message.title):
        raise InvalidRequest("title must not be empty", code="title_required")
    check_metadata(message.metadata)
    return MessageHead(op_id=op_id, thing_id=thing_id, password=password)


def complete_message(message: MessageBody, head: MessageHead) -> MessageFields:
    """Return what a message says, or raise what is wrong after the channel: occurred_at's rule, images, tags."""
    if head.thing_id is not None and message.occurred_ms is None:
        raise InvalidRequest(
            "occurred_at is required when message is scoped to thing_id",
            code="occurred_at_required_for_thing_scoped_message",
        )
    images = images_in(message.images)
    tags = tags_in(message.tags)
    return MessageFields(
        title=trim(message.title),
        body=message.body,
        severity=find_severity(message.severity or "") or Severity.NORMAL,
        thing_id=head.thing_id,
        occurred_ms=message.occurred_ms,
        ttl_ms=message.ttl_ms,
        url=message.url,
        images=images,
        tags=tags,
        metadata=message.metadata,
        ciphertext=message.ciphertext,
    )


def fingerprint(fields: MessageFields) -> bytes:
    """Return 16 bytes that are the same for two requests that say the same."""
    return digest(canonical(fields).encode())
