"""PushGo on a real engine, without a socket and with a clock that is moved by hand."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tocsin.core.destination import Destination
from tocsin.core.device import Device
from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId, IdSequence
from tocsin.dialects.pushgo import PushGo, PushGoLimits
from tocsin.engine.rows import MailboxOp, MailboxResult, SaveDevice
from tocsin.engine.sqlite.engine import SqliteEngine
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.pipeline.conditions import ConditionLimits, Conditions
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.telemetry import Metrics
from tocsin.web.auth import KeyRing
from tocsin.web.http import Request
from tocsin.web.passwords import ChannelPasswords, PasswordLimits


@dataclass
class ManualClock:
    """A clock that is moved by hand."""

    wall_ms: int = 1_713_750_000_000

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.wall_ms / 1000


class NobodySends:
    """A sender without a place: every delivery waits to be claimed."""

    def reserve(self, destination: Destination) -> bool:
        return False

    def release(self, destination_id: DestinationId) -> None:
        """Nothing was reserved."""

    def lease_until_ms(self) -> int:
        return 0

    def take(self, leases: object) -> None:
        """Nothing was leased."""


class Unhurried(SqliteEngine):
    """An engine that stores the change of one device only after so many reads, as if others came first."""

    reads_before = 0

    async def mailbox_write(self, ops: Sequence[MailboxOp]) -> list[MailboxResult]:
        if len(ops) == 1 and isinstance(ops[0], SaveDevice):
            for _ in range(self.reads_before):
                await self.probe()
        return await super().mailbox_write(ops)


class Gateway:
    """PushGo on a real engine, without a socket."""

    def __init__(self, engine: Unhurried, clock: ManualClock, limits: PushGoLimits) -> None:
        self.engine = engine
        self.clock = clock
        catalog = Catalog(engine)
        ingest = Ingest(
            engine=engine,
            catalog=catalog,
            conditions=Conditions(metrics=Metrics(), clock=clock, limits=ConditionLimits()),
            sender=NobodySends(),
            clock=clock,
            ids=IdSequence(os.urandom),
            transports=frozenset(),
            limits=IngestLimits(),
        )
        cheap = PasswordLimits(memory_kib=8, passes=1)
        pushgo = PushGo(
            ingest=ingest,
            catalog=catalog,
            engine=engine,
            keys=KeyRing(catalog),
            channels=Channels(catalog, limits.channels_max),
            passwords=ChannelPasswords(clock=clock, entropy=os.urandom, limits=cheap),
            clock=clock,
            entropy=os.urandom,
            limits=limits,
        )
        self._routes = {(route.method, route.path): route for route in pushgo.routes()}

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the data of a successful answer."""
        return await self._ask("POST", path, msgspec.json.encode(body))

    async def tried(self, path: str, **body: Any) -> dict[str, Any] | InvalidRequest:
        """Return the data of a successful answer, or why it is refused."""
        try:
            return await self.post(path, **body)
        except InvalidRequest as refused:
            return refused

    async def get(self, path: str) -> dict[str, Any]:
        """Return the data of a successful answer."""
        return await self._ask("GET", path, b"")

    async def _ask(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        scope = {"type": "http", "method": method, "path": path, "headers": [(b"content-type", b"application/json")]}
        response = await self._routes[method, path].handler(Request(scope, body))
        data: dict[str, Any] = msgspec.json.decode(response.body)["data"]
        return data

    async def register(self, platform: str, key: str | None = None) -> tuple[str, str | None]:
        answer = await self.post("/device/register", platform=platform, device_key=key)
        return answer["device_key"], answer.get("issue_reason")

    async def subscribed(self) -> tuple[str, str]:
        """Return a device's key and a new channel that it subscribes to."""
        key, _ = await self.register("android")
        answer = await self.post("/channel/subscribe", device_key=key, channel_name="c", password="pass-1234")
        return key, answer["channel_id"]

    async def device(self, key: str) -> Device:
        (found,) = await self.engine.find(Device, DEFAULT_ORGANISATION, [key.encode()])
        assert found is not None
        return found

    async def pulled(self, key: str) -> list[dict[str, str]]:
        answer = await self.post("/messages/pull", device_key=key)
        return [item["payload"] for item in answer["items"]]


Scenario = Callable[[Gateway], Awaitable[None]]
Play = Callable[..., None]
USUAL = PushGoLimits()
