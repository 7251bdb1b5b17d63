"""/device/register and /channel/device/*: who pulls, and by which vendor it could be woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.device import Device, Platform, PushType
from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import OrganisationId
from tocsin.core.organisation import Scope
from tocsin.core.text import trim
from tocsin.dialects.pushgo.entrance import Entrance, json_body
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.fields import (
    UNCODED,
    check_names,
    device_key_in,
    read_filled_text,
    read_required_text,
)
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import KeepSubscriptions, SaveDevice
from tocsin.web.http import Request, Response

_DEVICE_KEY_BYTES = 16
_TOKEN_BYTES_MIN = 16
_TOKEN_BYTES_MAX = 4096
_APNS_DIGITS_MIN = 64
_APNS_DIGITS_MAX = 256

_PLATFORMS = {each.value: each for each in Platform} | {"ipados": Platform.IOS, "win": Platform.WINDOWS}
_PUSH_TYPES = {each.value: each for each in PushType}
_APPLE = frozenset({Platform.IOS, Platform.MACOS, Platform.WATCHOS})
_VENDOR_PLATFORMS: dict[PushType, tuple[frozenset[Platform], str]] = {
    PushType.APNS: (_APPLE, "apple"),
    PushType.FCM: (frozenset({Platform.ANDROID}), "android"),
    PushType.WNS: (frozenset({Platform.WINDOWS}), "windows"),
}
"""Which platforms a vendor serves, and what they are called."""

_REGISTER_FIELDS = frozenset({"platform", "device_key"})
_CHANGE_FIELDS = frozenset({"device_key", "channel_type", "platform", "provider_token"})
_DELETE_FIELDS = frozenset({"device_key", "channel_type"})
_RETIRE_FIELDS = frozenset({"platform", "provider_token"})


class Devices:
    """Finds and saves devices."""

    def __init__(
        self, *, engine: Engine, clock: Clock, entropy: Callable[[int], bytes], limits: PushGoLimits
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._replacing = asyncio.Lock()

    async def find(self, organisation_id: OrganisationId, key: str) -> Device | None:
        """Return the organisation's device with this key, or None; a replaced one counts as gone."""
        found = await self._look_up(organisation_id, key)
        return found if found is not None and found.replaced_by is None else None

    async def get(self, organisation_id: OrganisationId, key: str) -> Device:
        """Return the organisation's device with this key.

        Raises:
            InvalidRequest: ``device_key_not_found``.
        """
        found = await self.find(organisation_id, key)
        if found is None:
            raise InvalidRequest("device_key not found", code="device_key_not_found")
        return found

    async def register(
        self, organisation_id: OrganisationId, key: str | None, platform: Platform
    ) -> tuple[str, str | None]:
        """Return the key under which the device is known from now on, and why it is a new one, if it is.

        A known key with another platform is replaced; asking again with the old key gives the same successor for a
        while, so that a client that lost the answer is not given a third.
        """
        if key is None:
            return await self._issue(organisation_id, platform), "device_key_missing"
        known = await self._look_up(organisation_id, key)
        if known is not None and known.replaced_by is None and known.platform is platform:
            return key, None
        async with self._replacing:
            known = await self._look_up(organisation_id, key)
            if known is None:
                return await self._issue(organisation_id, platform), "device_key_not_found"
            if known.replaced_by is None:
                return await self._issue(organisation_id, platform, instead_of=known), "platform_mismatch"
            successor = await self._successor(known, platform)
            if successor is not None:
                return successor.key, "platform_mismatch"
        return await self._issue(organisation_id, platform), "device_key_not_found"

    async def change(
        self, organisation_id: OrganisationId, key: str, alter: Callable[[Device], Device | None]
    ) -> Device:
        """Store what ``alter`` makes of a device, and return it; no other change comes in between.

        Args:
            alter: returns the device as it shall be, or None where it stays as it is.

        Raises:
            InvalidRequest: ``device_key_not_found``, or what ``alter`` raises.
        """
        async with self._replacing:
            # Read under the lock: saved back later, a device that was replaced meanwhile would come back to life.
            found = await self.get(organisation_id, key)
            altered = alter(found)
            if altered is None:
                return found
            await self._save(altered)
            return altered

    async def _save(self, device: Device) -> None:
        await self._engine.mailbox_write([SaveDevice(device)])

    async def _look_up(self, organisation_id: OrganisationId, key: str) -> Device | None:
        (found,) = await self._engine.find(Device, organisation_id, [key.encode()])
        return found

    async def _successor(self, gone: Device, platform: Platform) -> Device | None:
        if gone.replaced_by is None or self._clock.now_ms() - gone.changed_ms > self._limits.replaced_key_kept_ms:
            return None
        successor = await self.find(gone.organisation_id, gone.replaced_by)
        return successor if successor is not None and successor.platform is platform else None

    async def _issue(
        self, organisation_id: OrganisationId, platform: Platform, *, instead_of: Device | None = None
    ) -> str:
        key = self._entropy(_DEVICE_KEY_BYTES).hex()
        now_ms = self._clock.now_ms()
        device = Device(key=key, organisation_id=organisation_id, platform=platform, changed_ms=now_ms)
        if instead_of is None:
            await self._save(device)
            return key
        gone = msgspec.structs.replace(instead_of, replaced_by=key, provider_token=None, changed_ms=now_ms)
        await self._engine.mailbox_write(
            [SaveDevice(device), SaveDevice(gone), KeepSubscriptions(organisation_id, gone.key, ())]
        )
        return key


class DeviceRoutes:
    """The routes by which a device names itself and its vendor's address."""

    def __init__(self, *, entrance: Entrance, devices: Devices, limits: PushGoLimits) -> None:
        self._entrance = entrance
        self._devices = devices
        self._limits = limits

    async def register(self, request: Request) -> Response:
        """Give a device a key, or confirm the one it has."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _REGISTER_FIELDS)
        key = read_filled_text(body, "device_key")
        platform = platform_in(read_required_text(body, "platform"))
        key, reason = await self._devices.register(principal.organisation_id, key, platform)
        answer: dict[str, Any] = {"device_key": key, "issued_new_key": reason is not None}
        if reason is not None:
            answer["issue_reason"] = reason
        return success(answer)

    async def change(self, request: Request) -> Response:
        """Set by which vendor a device could be woken."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _CHANGE_FIELDS)
        key_text = read_required_text(body, "device_key")
        type_text = read_required_text(body, "channel_type")
        platform_text = read_filled_text(body, "platform")
        token = read_filled_text(body, "provider_token")

        key = device_key_in(key_text)
        push_type = push_type_in(type_text)
        platform = None if platform_text is None else platform_in(platform_text)

        def altered(device: Device) -> Device | None:
            if platform is not None and platform is not device.platform:
                raise InvalidRequest("platform does not match device identity", code="platform_mismatch")
            check_provider_token(push_type, device.platform, token)
            if device.push_type is push_type and device.provider_token == token:
                return None
            return msgspec.structs.replace(device, push_type=push_type, provider_token=token)

        await self._devices.change(principal.organisation_id, key, altered)
        answer: dict[str, Any] = {"device_key": key, "channel_type": push_type.value, "issued_new_key": False}
        if token is not None:
            answer["provider_token"] = token
        return success(answer)

    async def delete(self, request: Request) -> Response:
        """Forget a device's vendor address; its type stays."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _DELETE_FIELDS)
        key_text = read_required_text(body, "device_key")
        type_text = read_required_text(body, "channel_type")

        key = device_key_in(key_text)
        push_type = push_type_in(type_text)

        def altered(device: Device) -> Device | None:
            if device.push_type is not push_type:
                raise InvalidRequest("channel_type does not match current device route", code="channel_type_mismatch")
            return None if device.provider_token is None else msgspec.structs.replace(device, provider_token=None)

        await self._devices.change(principal.organisation_id, key, altered)
        return success({"device_key": key, "channel_type": push_type.value, "issued_new_key": False})

    async def retire(self, request: Request) -> Response:
        """Confirm that a vendor's address is dead.

        Nothing is sent by way of a vendor, so there is nothing to stop: a device is served by pull whatever its
        address.
        """
        self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _RETIRE_FIELDS)
        platform_text = read_required_text(body, "platform")
        token_text = read_required_text(body, "provider_token")

        platform = platform_in(platform_text)
        token = trim(token_text)
        if not token:
            raise InvalidRequest("provider_token is required", code="provider_token_required")
        check_token_form(platform, token)
        return success({"retired": True})


def platform_in(text: str) -> Platform:
    """Return the platform that a text names, in any case; ``invalid_platform`` otherwise."""
    found = _PLATFORMS.get(trim(text).lower())
    if found is None:
        raise InvalidRequest("invalid platform", code="invalid_platform")
    return found


def push_type_in(text: str) -> PushType:
    """Return the type that a text names, in any case; ``invalid_channel_type`` otherwise."""
    found = _PUSH_TYPES.get(trim(text).lower())
    if found is None:
        raise InvalidRequest("invalid channel_type", code="invalid_channel_type")
    return found


def check_provider_token(push_type: PushType, platform: Platform, token: str | None) -> None:
    """Raise unless a device of this platform may have this type and this vendor address."""
    if push_type is PushType.PRIVATE:
        if token is not None:
            raise InvalidRequest(
                "provider_token is not allowed for private channel",
                code="provider_token_forbidden_for_private_channel",
            )
        return
    if token is None:
        raise InvalidRequest("provider_token required for provider channel", code="provider_token_required")
    served, called = _VENDOR_PLATFORMS[push_type]
    if platform not in served:
        raise InvalidRequest(
            f"channel_type {push_type.value} requires {called} platform",
            code=f"{push_type.value}_channel_requires_{called}_platform",
        )
    check_token_form(platform, token)


def check_token_form(platform: Platform, token: str) -> None:
    """Raise unless a vendor of this platform writes its addresses so; the error has no code."""
    if platform in _APPLE:
        fits = (
            _APNS_DIGITS_MIN <= len(token) <= _APNS_DIGITS_MAX
            and len(token) % 2 == 0
            and all(character in "0123456789abcdefABCDEF" for character in token)
        )
    else:
        fits = _TOKEN_BYTES_MIN <= len(token.encode()) <= _TOKEN_BYTES_MAX
    if not fits:
        raise InvalidRequest("invalid provider_token", code=UNCODED)
