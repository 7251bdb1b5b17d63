"""/channel/sync: a device tells its whole list of channels at once."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.errors import InvalidRequest, NotFound, NotPermitted, RateLimited, TocsinError, Unavailable
from tocsin.core.identifiers import ChannelId, OrganisationId
from tocsin.core.organisation import Scope
from tocsin.core.text import trim
from tocsin.dialects.pushgo.devices import Devices
from tocsin.dialects.pushgo.entrance import Entrance, json_body
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.fields import (
    Body,
    DataFault,
    channel_id_in,
    channel_id_shown,
    check_names,
    device_key_in,
    password_in,
    read_required_text,
)
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import KeepSubscriptions, MailboxResult, Subscribe
from tocsin.web.auth import Principal
from tocsin.web.http import Request, Response

_FIELDS = frozenset({"device_key", "channels"})
_ITEM_FIELDS = frozenset({"channel_id", "password"})


class _Judged(msgspec.Struct):
    """One item of the list: what it names, and what is wrong with it.

    Attributes:
        shown_id: in capitals, or as it was sent when it is no channel id.
        channel_id: None when the item failed.
    """

    shown_id: str
    channel_id: ChannelId | None = None
    channel_name: str | None = None
    error: str | None = None
    error_code: str | None = None


class SyncRoute:
    """Each item is judged by itself; when none fails, the list becomes the device's whole set."""

    def __init__(self, *, engine: Engine, entrance: Entrance, devices: Devices, limits: PushGoLimits) -> None:
        self._engine = engine
        self._entrance = entrance
        self._devices = devices
        self._limits = limits

    async def sync(self, request: Request) -> Response:
        """Subscribe a device to each channel that opens, and to no others if all do."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.sync_body_limit_bytes)
        check_names(body, _FIELDS)
        key_text = read_required_text(body, "device_key")
        wanted = _read_items(body)

        key = device_key_in(key_text)
        if len(wanted) > self._limits.sync_channels_max:
            raise InvalidRequest(
                f"channels exceeds max limit {self._limits.sync_channels_max}", code="channels_limit_exceeded"
            )
        device = await self._devices.get(principal.organisation_id, key)
        items = [await self._judged(request, principal, id_text, password) for id_text, password in wanted]
        await self._subscribe(principal.organisation_id, device.key, items)
        if all(item.channel_id is not None for item in items):
            kept = tuple({item.channel_id for item in items if item.channel_id is not None})
            await self._engine.mailbox_write([KeepSubscriptions(principal.organisation_id, device.key, kept)])
        failed = sum(item.channel_id is None for item in items)
        return success(
            {
                "total": len(items),
                "success": len(items) - failed,
                "failed": failed,
                "channels": [_shown(item) for item in items],
            }
        )

    async def _judged(self, request: Request, principal: Principal, id_text: str, password_text: str) -> _Judged:
        trimmed = trim(id_text)
        if not trimmed:
            return _Judged("", error="channel_id is required", error_code="invalid_channel_id")
        shown = trimmed
        try:
            channel_id = channel_id_in(trimmed)
            shown = channel_id_shown(channel_id)
            password = password_in(password_text)
            channel = await self._entrance.opened_channel(principal, channel_id, password, request)
        except (InvalidRequest, NotFound, NotPermitted, RateLimited, Unavailable) as error:
            text, code = _item_error(error)
            return _Judged(shown, error=text, error_code=code)
        return _Judged(shown, channel_id, channel.name)

    async def _subscribe(self, organisation_id: OrganisationId, device_key: str, items: list[_Judged]) -> None:
        ops = [
            Subscribe(organisation_id, device_key, item.channel_id, self._limits.channel_devices_max)
            for item in items
            if item.channel_id is not None
        ]
        if not ops:
            return
        opened = [item for item in items if item.channel_id is not None]
        for item, result in zip(opened, await self._engine.mailbox_write(ops), strict=True):
            if result is MailboxResult.LIMIT:
                item.channel_id = item.channel_name = None
                item.error = "channel subscriber limit exceeded"
                item.error_code = "channel_subscriber_limit_exceeded"


def _read_items(body: Body) -> list[tuple[str, str]]:
    """Return the pairs of channel id and password; any fault of their form is one of the whole body."""
    if "channels" not in body:
        raise DataFault("missing field `channels`")
    items = body["channels"]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataFault("`channels` must be a list of objects")
    for item in items:
        check_names(item, _ITEM_FIELDS)
    return [(read_required_text(item, "channel_id"), read_required_text(item, "password")) for item in items]


def _item_error(error: TocsinError) -> tuple[str, str]:
    """Return how an item's fault is told, which is not quite how the other routes tell it."""
    if isinstance(error, NotFound):
        return "channel not found on gateway", error.code
    if isinstance(error, NotPermitted):
        return "channel exists but password mismatch", error.code
    if isinstance(error, Unavailable):
        return "server is busy, please try again later", "server_busy"
    if error.code == "invalid_password_length":
        return error.detail, "invalid_password"
    return error.detail, error.code


def _shown(item: _Judged) -> dict[str, Any]:
    told: dict[str, Any] = {"channel_id": item.shown_id}
    if item.channel_name is not None:
        told["channel_name"] = item.channel_name
    told |= {"subscribed": item.channel_id is not None, "created": False}
    if item.error is not None:
        told |= {"error": item.error, "error_code": item.error_code}
    return told
