"""The routes of PushGo's channels, as an operator makes and keeps them."""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import NotFound
from tocsin.core.identifiers import ChannelId, IdSequence, crockford, parse_crockford
from tocsin.core.organisation import Channel, Scope
from tocsin.core.text import trim
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import page_of, page_response, read_listing
from tocsin.dialects.native.reading import Field, Reader, read_body, text, wrong
from tocsin.dialects.native.rendering import time_shown
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.web.guard import Guard
from tocsin.web.http import Handler, Request, Response, json_response
from tocsin.web.passwords import ChannelPasswords


def password(limits: NativeLimits) -> Reader:
    """Return a reader of a channel's password, which loses the white space around it, as PushGo's routes do."""
    least, most = limits.password_bytes_min, limits.password_bytes_max

    def read(value: Any) -> str:
        trimmed = trim(value) if isinstance(value, str) else ""
        if not least <= len(trimmed.encode()) <= most:
            raise wrong(f"must be a text of {least} to {most} bytes in UTF-8")
        return trimmed

    return read


class ChannelRoutes:
    """Handlers of ``/channels``."""

    def __init__(
        self,
        *,
        guard: Guard,
        catalog: Catalog,
        channels: Channels,
        passwords: ChannelPasswords,
        clock: Clock,
        ids: IdSequence,
        limits: NativeLimits,
    ) -> None:
        self._guard = guard
        self._catalog = catalog
        self._channels = channels
        self._passwords = passwords
        self._clock = clock
        self._ids = ids
        self._limits = limits
        name, secret = text(1, limits.name_characters_max), password(limits)
        self._creation = {"name": Field(name, required=True), "password": Field(secret, required=True)}
        self._change = {"name": Field(name), "password": Field(secret)}

    def handlers(self) -> tuple[tuple[str, str, Handler], ...]:
        """Return method, path and handler of each route."""
        one = "/channels/{channel_id}"
        return (
            ("GET", "/channels", self.list),
            ("POST", "/channels", self.create),
            ("PATCH", one, self.change),
            ("DELETE", one, self.delete),
        )

    async def list(self, request: Request) -> Response:
        """Return a page of channels, oldest first."""
        principal = self._guard.guard(request, Scope.READ)
        listing = read_listing(request, {}, self._limits)
        return page_response("channels", page_of(self._catalog.channels(principal.organisation_id), listing), _shown)

    async def create(self, request: Request) -> Response:
        """Make a channel."""
        principal = self._guard.guard(request, Scope.MANAGE)
        given = read_body(request.body, self._creation)
        self._channels.check_room(principal.organisation_id)
        now_ms = self._clock.now_ms()
        channel = Channel(
            id=ChannelId(self._ids.make(now_ms)),
            organisation_id=principal.organisation_id,
            name=given["name"],
            password_hash=await self._passwords.hash(given["password"]),
            created_ms=now_ms,
        )
        await self._channels.add(channel)
        return json_response(201, _shown(channel))

    async def change(self, request: Request) -> Response:
        """Change a channel's name or password; a new password ends the old one at once."""
        before = self._found(request)
        given = read_body(request.body, self._change)
        changes = {"name": given["name"]} if "name" in given else {}
        if "password" in given:
            changes["password_hash"] = await self._passwords.hash(given["password"])
        after = msgspec.structs.replace(before, **changes)
        if changes:
            await self._catalog.save(after)
        return json_response(200, _shown(after))

    async def delete(self, request: Request) -> Response:
        """Remove a channel; its past events and incidents stay."""
        channel = self._found(request)
        await self._catalog.remove(Channel, channel.organisation_id, channel.id)
        return json_response(200, {"id": crockford(channel.id), "deleted": True})

    def _found(self, request: Request) -> Channel:
        """Return the channel of the path; another organisation's is not there."""
        principal = self._guard.guard(request, Scope.MANAGE)
        channel_id = parse_crockford(request.path["channel_id"])
        found = None
        if channel_id is not None:
            found = self._catalog.find_channel(principal.organisation_id, ChannelId(channel_id))
        if found is None:
            raise NotFound("channel not found")
        return found


def _shown(channel: Channel) -> dict[str, Any]:
    return {"id": crockford(channel.id), "name": channel.name, "created_at": time_shown(channel.created_ms)}
