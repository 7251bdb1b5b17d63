"""What PushGo's requests may hold and how long things are kept."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import DAY_MS


class PushGoLimits(msgspec.Struct, frozen=True, kw_only=True):
    """PushGo's bounds; the defaults are the contract's.

    Attributes:
        body_limit_bytes: a longer body is refused; one of exactly this length passes.
        sync_body_limit_bytes: the same for /channel/sync, whose full list of channels is longer.
        sync_channels_max: channels in one /channel/sync.
        channels_max: channels of one organisation, whichever routes made them.
        channel_devices_max: devices that subscribe to one channel.
        incident_attrs_bytes_max: the merged attrs of one incident, as JSON.
        pulled_items_max: items in one answer to /messages/pull.
        mailbox_kept_ms: how long an item waits for its device.
        op_id_kept_ms: how long a repeated op_id is recognised.
        replaced_key_kept_ms: how long a device key that was replaced leads to its successor.
    """

    body_limit_bytes: int = 32_768
    sync_body_limit_bytes: int = 524_288
    sync_channels_max: int = 2000
    channels_max: int = 10_000
    channel_devices_max: int = 10_000
    incident_attrs_bytes_max: int = 65_536
    pulled_items_max: int = 512
    mailbox_kept_ms: int = 30 * DAY_MS
    op_id_kept_ms: int = 7 * DAY_MS
    replaced_key_kept_ms: int = 600_000
