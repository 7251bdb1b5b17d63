"""/channel/*: what a device subscribes to, and the channels themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import Conflict, InvalidRequest
from tocsin.core.identifiers import ChannelId, OrganisationId
from tocsin.core.organisation import Channel, Scope
from tocsin.dialects.pushgo.devices import Devices
from tocsin.dialects.pushgo.entrance import Entrance, json_body, query_of
from tocsin.dialects.pushgo.envelope import success
from tocsin.dialects.pushgo.fields import (
    channel_id_in,
    channel_id_shown,
    channel_name_in,
    check_names,
    device_key_in,
    password_in,
    read_filled_text,
    read_required_text,
)
from tocsin.dialects.pushgo.limits import PushGoLimits
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import MailboxResult, Subscribe, Unsubscribe
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.web.http import Request, Response
from tocsin.web.passwords import ChannelPasswords

_CHANNEL_ID_BYTES = 16
_RENAME_TRIES_MAX = 3
_SUBSCRIBE_FIELDS = frozenset({"device_key", "password", "channel_id", "channel_name"})
_UNSUBSCRIBE_FIELDS = frozenset({"device_key", "channel_id"})
_RENAME_FIELDS = frozenset({"channel_id", "channel_name", "password"})


class ChannelRoutes:
    """Subscribing, and making, naming and finding channels."""

    def __init__(
        self,
        *,
        engine: Engine,
        catalog: Catalog,
        entrance: Entrance,
        devices: Devices,
        channels: Channels,
        passwords: ChannelPasswords,
        clock: Clock,
        entropy: Callable[[int], bytes],
        limits: PushGoLimits,
    ) -> None:
        self._engine = engine
        self._catalog = catalog
        self._entrance = entrance
        self._devices = devices
        self._channels = channels
        self._passwords = passwords
        self._clock = clock
        self._entropy = entropy
        self._limits = limits

    async def subscribe(self, request: Request) -> Response:
        """Subscribe a device to a channel, or to a new one of the given name."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _SUBSCRIBE_FIELDS)
        key_text = read_required_text(body, "device_key")
        password_text = read_required_text(body, "password")
        id_text = read_filled_text(body, "channel_id")
        name_text = read_filled_text(body, "channel_name")

        device = await self._devices.get(principal.organisation_id, device_key_in(key_text))
        channel_id = None if id_text is None else channel_id_in(id_text)
        name = None if name_text is None else channel_name_in(name_text)
        if (channel_id is None) == (name is None):
            raise InvalidRequest("must provide either channel_id or channel_name", code="channel_binding_invalid")
        password = password_in(password_text)
        if channel_id is not None:
            channel = await self._entrance.opened_channel(principal, channel_id, password, request)
        else:
            channel = await self._new_channel(principal.organisation_id, name or "", password)
        (result,) = await self._engine.mailbox_write([self._subscription(channel, device.key)])
        if result is MailboxResult.LIMIT:
            raise InvalidRequest("channel subscriber limit exceeded", code="channel_subscriber_limit_exceeded")
        return success(
            {
                "channel_id": channel_id_shown(channel.id),
                "channel_name": channel.name,
                "created": channel_id is None,
                "subscribed": True,
            }
        )

    async def unsubscribe(self, request: Request) -> Response:
        """End a subscription; the answer tells whether there was one."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _UNSUBSCRIBE_FIELDS)
        key_text = read_required_text(body, "device_key")
        id_text = read_required_text(body, "channel_id")

        device = await self._devices.get(principal.organisation_id, device_key_in(key_text))
        channel_id = channel_id_in(id_text)
        (result,) = await self._engine.mailbox_write([Unsubscribe(principal.organisation_id, device.key, channel_id)])
        return success({"channel_id": channel_id_shown(channel_id), "removed": result is MailboxResult.DONE})

    async def exists(self, request: Request) -> Response:
        """Tell whether a channel exists, and its name."""
        principal = self._entrance.principal(request, Scope.READ)
        query = query_of(request, required=frozenset({"channel_id"}))
        channel_id = channel_id_in(query["channel_id"])
        found = self._catalog.find_channel(principal.organisation_id, channel_id)
        answer: dict[str, Any] = {"channel_id": channel_id_shown(channel_id), "exists": found is not None}
        if found is not None:
            answer["channel_name"] = found.name
        return success(answer)

    async def rename(self, request: Request) -> Response:
        """Give a channel another name."""
        principal = self._entrance.principal(request, Scope.MANAGE)
        body = json_body(request, self._limits.body_limit_bytes)
        check_names(body, _RENAME_FIELDS)
        id_text = read_required_text(body, "channel_id")
        name_text = read_required_text(body, "channel_name")
        password_text = read_required_text(body, "password")

        channel_id = channel_id_in(id_text)
        name = channel_name_in(name_text)
        password = password_in(password_text)
        for tries_left in reversed(range(_RENAME_TRIES_MAX)):
            # Checked again in every round: what changed meanwhile may have been the password.
            channel = await self._entrance.opened_channel(principal, channel_id, password, request)
            try:
                await self._catalog.save(msgspec.structs.replace(channel, name=name))
                break
            except Conflict:
                if not tries_left:
                    raise
                await self._catalog.refresh()
        return success({"channel_id": channel_id_shown(channel_id), "channel_name": name})

    async def _new_channel(self, organisation_id: OrganisationId, name: str, password: str) -> Channel:
        self._channels.check_room(organisation_id)
        channel = Channel(
            id=ChannelId(self._entropy(_CHANNEL_ID_BYTES)),
            organisation_id=organisation_id,
            name=name,
            password_hash=await self._passwords.hash(password),
            created_ms=self._clock.now_ms(),
        )
        await self._channels.add(channel)
        return channel

    def _subscription(self, channel: Channel, device_key: str) -> Subscribe:
        return Subscribe(channel.organisation_id, device_key, channel.id, self._limits.channel_devices_max)
