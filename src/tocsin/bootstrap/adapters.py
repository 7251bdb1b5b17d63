"""Small adapters between the parts, each to a protocol of the part that asks."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec

from tocsin.core.device import Device
from tocsin.core.identifiers import DeliveryId, EventId, OrganisationId
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import MailboxResult, PutItem
from tocsin.transports import outbound


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Return the wall clock's milliseconds since 1970, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()


class EngineMailboxes:
    """The engine's mailboxes, as the transport asks for them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(
        self,
        organisation_id: OrganisationId,
        device_key: str,
        delivery_id: DeliveryId,
        event_id: EventId,
        expires_ms: int,
    ) -> bool:
        (device,) = await self._engine.find(Device, organisation_id, [device_key.encode()])
        if device is None or device.replaced_by is not None:
            return False
        item = PutItem(organisation_id, device_key, delivery_id, event_id, expires_ms)
        (result,) = await self._engine.mailbox_write([item])
        return result is not MailboxResult.NOT_FOUND


class OutboundJwks:
    """External key sets, fetched by the guarded client."""

    _TIMEOUT_S = 5.0
    _KEPT_BYTES = 256 * 1024
    """A large provider's set of keys with their certificates."""

    def __init__(self, client: outbound.Sends) -> None:
        self._client = client

    async def keys(self, url: str) -> list[dict[str, Any]] | None:
        reply: asyncio.Future[outbound.Reply] = asyncio.get_running_loop().create_future()
        request = outbound.Request(
            "GET", url, (("Accept", "application/json"),), b"", self._TIMEOUT_S, self._KEPT_BYTES
        )
        self._client.send(request, lambda each: None if reply.done() else reply.set_result(each))
        answer = await reply
        if answer.status != 200 or answer.error_class is not None or answer.truncated:
            return None
        try:
            return msgspec.json.decode(answer.body, type=_JwkSet).keys
        except msgspec.MsgspecError:
            return None


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]
