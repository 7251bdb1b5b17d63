"""PushGo's devices, what they subscribe to, and what waits for them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.event import Event
from tocsin.core.identifiers import DeliveryId, OrganisationId


class Platform(StrEnum):
    """What a device runs."""

    IOS = "ios"
    MACOS = "macos"
    WATCHOS = "watchos"
    ANDROID = "android"
    WINDOWS = "windows"


class PushType(StrEnum):
    """By which vendor a device could be woken; PushGo calls it ``channel_type``."""

    PRIVATE = "private"
    APNS = "apns"
    FCM = "fcm"
    WNS = "wns"


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device that pulls.

    Attributes:
        key: its secret name, which is also how it is found.
        provider_token: the vendor's address of it; kept for a later transport.
        replaced_by: the key that took this one's place when the platform changed; None while it is valid.
        changed_ms: when it was made or replaced.
    """

    key: str
    organisation_id: OrganisationId
    platform: Platform
    changed_ms: int
    push_type: PushType = PushType.PRIVATE
    provider_token: str | None = None
    replaced_by: str | None = None


class MailboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """An event that waits in a device's mailbox until the device acknowledges it."""

    delivery_id: DeliveryId
    event: Event
    expires_ms: int
