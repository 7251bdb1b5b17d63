"""Changes to devices, subscriptions and mailboxes."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.device import Device
from tocsin.core.identifiers import ChannelId, DeliveryId, EventId, OrganisationId


class SaveDevice(msgspec.Struct, frozen=True):
    """Insert or replace a device."""

    device: Device


class Subscribe(msgspec.Struct, frozen=True):
    """Subscribe a device to a channel, unless the channel has ``limit`` devices."""

    organisation_id: OrganisationId
    device_key: str
    channel_id: ChannelId
    limit: int


class Unsubscribe(msgspec.Struct, frozen=True):
    """End a subscription."""

    organisation_id: OrganisationId
    device_key: str
    channel_id: ChannelId


class KeepSubscriptions(msgspec.Struct, frozen=True):
    """End every subscription of a device but these."""

    organisation_id: OrganisationId
    device_key: str
    channel_ids: tuple[ChannelId, ...]


class PutItem(msgspec.Struct, frozen=True):
    """Put an event into a device's mailbox."""

    organisation_id: OrganisationId
    device_key: str
    delivery_id: DeliveryId
    event_id: EventId
    expires_ms: int


class AckItem(msgspec.Struct, frozen=True):
    """Take an item out of a device's mailbox."""

    organisation_id: OrganisationId
    device_key: str
    delivery_id: DeliveryId


MailboxOp = SaveDevice | Subscribe | Unsubscribe | KeepSubscriptions | PutItem | AckItem


class MailboxResult(StrEnum):
    """What an op on mailboxes came to."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It was so already, or there was nothing to remove."""
    LIMIT = "limit"
    NOT_FOUND = "not_found"
    """The organisation has no such device, or no such event."""
