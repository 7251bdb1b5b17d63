"""Devices, their subscriptions and their mailboxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from tocsin.core.identifiers import bucket_of
from tocsin.engine.codec import device_body
from tocsin.engine.postgres.sql import Connection, first, lock_gate
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


async def write(connection: Connection, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
    """Carry out each op in turn."""
    for name in sorted({f"channel {op.channel_id.hex()}" for op in ops if isinstance(op, Subscribe)}):
        # Of a channel one subscription is made at a time, so that no two of them make its limit's last.
        await lock_gate(connection, name)
    return [await _one(connection, op) for op in ops]


async def _one(connection: Connection, op: MailboxOp) -> MailboxResult:
    match op:
        case SaveDevice(device):
            saved = await first(connection, "save_device", device.key, device.organisation_id, device_body(device))
            return MailboxResult.NOT_FOUND if saved is None else MailboxResult.DONE
        case Subscribe():
            return await _subscribe(connection, op)
        case Unsubscribe():
            row = await first(connection, "unsubscribe", op.device_key, op.channel_id, op.organisation_id)
        case KeepSubscriptions():
            kept = list(op.channel_ids)
            row = await first(connection, "keep_subscriptions", op.device_key, op.organisation_id, kept)
        case PutItem():
            if not await _has_device(connection, op) or not await _has_event(connection, op):
                return MailboxResult.NOT_FOUND
            row = await first(connection, "put_item", op.device_key, op.delivery_id, op.event_id, op.expires_ms)
        case AckItem():
            row = await first(connection, "ack_item", op.device_key, op.delivery_id, op.organisation_id)
        case _:
            assert_never(op)
    return MailboxResult.UNCHANGED if row is None else MailboxResult.DONE


async def _has_device(connection: Connection, op: Subscribe | PutItem) -> bool:
    return await first(connection, "device_exists", op.device_key, op.organisation_id) is not None


async def _has_event(connection: Connection, op: PutItem) -> bool:
    key = (bucket_of(op.event_id), op.event_id, op.organisation_id)
    return await first(connection, "seq_of_event", *key) is not None


async def _subscribe(connection: Connection, op: Subscribe) -> MailboxResult:
    if not await _has_device(connection, op):
        return MailboxResult.NOT_FOUND
    if await first(connection, "is_subscribed", op.device_key, op.channel_id, op.organisation_id) is not None:
        return MailboxResult.UNCHANGED
    count = await first(connection, "subscribers_of", op.channel_id, op.organisation_id, op.limit)
    if count is not None and count[0] >= op.limit:
        return MailboxResult.LIMIT
    made = await first(connection, "subscribe", op.device_key, op.channel_id, op.organisation_id)
    return MailboxResult.UNCHANGED if made is None else MailboxResult.DONE
