"""Devices, their subscriptions and their mailboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import apsw

from tocsin.engine.codec import device_body
from tocsin.engine.rows import (
    AckItem,
    KeepSubscriptions,
    MailboxOp,
    MailboxResult,
    PutItem,
    SaveDevice,
    Subscribe,
    Unsubscribe,
)
from tocsin.engine.sqlite.sql import SQL, first


def write(connection: apsw.Connection, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
    """Carry out each op in turn."""
    return [_one(connection, op) for op in ops]


def _one(connection: apsw.Connection, op: MailboxOp) -> MailboxResult:
    match op:
        case SaveDevice(device):
            saved = first(connection, "save_device", device.key, device.organisation_id, device_body(device))
            return MailboxResult.NOT_FOUND if saved is None else MailboxResult.DONE
        case Subscribe():
            return _subscribe(connection, op)
        case Unsubscribe():
            row = first(connection, "unsubscribe", op.device_key, op.channel_id, op.organisation_id)
        case KeepSubscriptions():
            return _keep(connection, op)
        case PutItem():
            if not _has_device(connection, op) or not _has_event(connection, op):
                return MailboxResult.NOT_FOUND
            row = first(connection, "put_item", op.device_key, op.delivery_id, op.event_id, op.expires_ms)
        case AckItem():
            row = first(connection, "ack_item", op.device_key, op.delivery_id, op.organisation_id)
        case _:
            assert_never(op)
    return MailboxResult.UNCHANGED if row is None else MailboxResult.DONE


def _has_device(connection: apsw.Connection, op: Subscribe | PutItem) -> bool:
    return first(connection, "device_exists", op.device_key, op.organisation_id) is not None


def _has_event(connection: apsw.Connection, op: PutItem) -> bool:
    return first(connection, "seq_of_event", op.event_id, op.organisation_id) is not None


def _subscribe(connection: apsw.Connection, op: Subscribe) -> MailboxResult:
    if not _has_device(connection, op):
        return MailboxResult.NOT_FOUND
    if first(connection, "is_subscribed", op.device_key, op.channel_id, op.organisation_id) is not None:
        return MailboxResult.UNCHANGED
    count = first(connection, "subscribers_of", op.channel_id, op.organisation_id, op.limit)
    if count is not None and count[0] >= op.limit:
        return MailboxResult.LIMIT
    connection.execute(SQL["subscribe"], (op.device_key, op.channel_id, op.organisation_id))
    return MailboxResult.DONE


def _keep(connection: apsw.Connection, op: KeepSubscriptions) -> MailboxResult:
    kept = set(op.channel_ids)
    held = connection.execute(SQL["subscriptions_of"], (op.device_key, op.organisation_id)).fetchall()
    gone = [channel_id for (channel_id,) in held if channel_id not in kept]
    for channel_id in gone:
        connection.execute(SQL["unsubscribe"], (op.device_key, channel_id, op.organisation_id)).fetchall()
    return MailboxResult.DONE if gone else MailboxResult.UNCHANGED
