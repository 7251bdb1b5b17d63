"""Transports to people with everything around them, for tests: a remote on a real socket answers as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from leases import made_event, made_lease
from receivers import Answer, Receiver
from tocsin.core.delivery import Outcome, Posted
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId
from tocsin.transports.addresses import ANYWHERE, AddressPolicy
from tocsin.transports.outbound import Client, Limits
from tocsin.transports.protocol import Shipment, Target
from tocsin.transports.protocol import Transport as Sending

T = TypeVar("T", bound=Sending)
TIME_MS = 1_772_793_000_000


class HandClock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_ms(self) -> int:
        return TIME_MS + round((self.at_s - 1000.0) * 1000)

    def monotonic_s(self) -> float:
        return self.at_s


class RealClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


def json(value: Any, status: int = 200, **headers: Any) -> Answer:
    """Return an answer in JSON; underscores in the names of headers are hyphens."""
    named = tuple((name.replace("_", "-"), str(text)) for name, text in headers.items())
    return Answer(status, (("Content-Type", "application/json"), *named), msgspec.json.encode(value))


def shipment(
    transport: Transport,
    *,
    address: dict[str, Any],
    secret: dict[str, Any],
    posted: str | None = None,
    data: bytes = b'{"fields":{"a":1}}',
    delivery: bytes = b"",
    **destination: Any,
) -> Shipment:
    """Return an attempt at telling a category's event."""
    event = made_event(dialect=Dialect.PINGPILOT, type="bug", time_ms=TIME_MS, data=data)
    usual: dict[str, Any] = {
        "id": DestinationId(bytes(16)),
        "organisation_id": DEFAULT_ORGANISATION,
        "name": "people",
        "transport": transport,
        "created_ms": 0,
        "updated_ms": 0,
        "address": address,
        "timeout_s": 5.0,
    }
    made = Destination(**usual | destination)
    lease = made_lease(event=event, destination_id=made.id, delivery_id=DeliveryId(delivery.ljust(16, b"\0")))
    told = None
    if posted is not None:
        told = Posted(
            organisation_id=DEFAULT_ORGANISATION,
            destination_id=made.id,
            lane=b"lane",
            event_id=EventId(bytes(16)),
            remote_id=posted,
        )
    return Shipment(lease, Target(made, secret_address=secret), posted=told)


class People(Generic[T]):
    """A transport and the remote that it reaches.

    Attributes:
        base: where the remote's API is.
    """

    def __init__(self, remote: Receiver, transport: T, clock: HandClock | RealClock, base: str) -> None:
        self.remote = remote
        self.transport = transport
        self.clock = clock
        self.base = base

    async def send(self, sent: Shipment) -> Outcome:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(of: Shipment, outcome: Outcome) -> None:
            assert of is sent
            told.set_result(outcome)

        self.transport.start(sent, done)
        assert not told.done()
        return await told

    def told(self) -> list[tuple[str, str, Any]]:
        """Return the requests that arrived: method, target, body."""
        return [(each.method, each.target, msgspec.json.decode(each.body)) for each in self.remote.requests]

    def later(self, seconds: float) -> None:
        """Let time pass."""
        assert isinstance(self.clock, HandClock)
        self.clock.at_s += seconds


def run(
    make: Callable[[Client, HandClock | RealClock, str], T],
    scenario: Callable[[People[T]], Awaitable[None]],
    *,
    clock: HandClock | RealClock | None = None,
    path: str = "",
    policy: AddressPolicy | None = None,
    **limits: Any,
) -> None:
    """Run a scenario with an open transport and its remote."""

    async def main() -> None:
        client = Client(policy if policy is not None else AddressPolicy(ANYWHERE), limits=Limits(**limits))
        used = clock if clock is not None else HandClock()
        async with Receiver() as remote, asyncio.timeout(60):
            base = remote.url(path)
            transport = make(client, used, base)
            await client.open()
            await transport.open()
            try:
                await scenario(People(remote, transport, used, base))
            finally:
                await transport.close()
                await client.close()

    asyncio.run(main())
