"""A webhook transport with everything around it, for tests."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

from receivers import LOOPBACK, Receiver
from tocsin.core.delivery import Lease, Outcome
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId
from tocsin.core.signature import make_secret
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client, Limits
from tocsin.transports.protocol import LiveSecret, Shipment, Target
from tocsin.transports.webhook import WebhookTransport

EVENT_ID = EventId(bytes.fromhex("019a9c2e51c07abc8def0123456789ab"))
MESSAGE_ID = "evt_019a9c2e51c07abc8def0123456789ab"
OLD, NEW = make_secret(b"o" * 32), make_secret(b"n" * 32)
SECRETS = (LiveSecret(NEW, None),)


class WallClock:
    """The wall clock moved by hand; it starts at the real time, which verifiers compare with their own."""

    def __init__(self) -> None:
        self.at_ms = int(dt.datetime.now(dt.UTC).timestamp() * 1000)

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        raise AssertionError


class Sending:
    """A webhook transport with everything around it, and one receiver."""

    def __init__(self, receiver: Receiver, transport: WebhookTransport, clock: WallClock) -> None:
        self.receiver = receiver
        self.transport = transport
        self.clock = clock

    def shipment(
        self,
        *,
        event: dict[str, Any] | None = None,
        secrets: tuple[LiveSecret, ...] = SECRETS,
        headers: dict[str, str] | None = None,
        **destination: Any,
    ) -> Shipment:
        stored = Event(
            **{
                "id": EVENT_ID,
                "organisation_id": DEFAULT_ORGANISATION,
                "dialect": Dialect.PROMPTJANG,
                "source": "promptjang/endpoint/1",
                "type": "order.created",
                "time_ms": 1_763_719_200_000,
                "data": b'{"ok": true}',
                **(event or {}),
            }
        )
        fields: dict[str, Any] = {
            "id": DestinationId(bytes(16)),
            "organisation_id": DEFAULT_ORGANISATION,
            "name": "a",
            "transport": Transport.WEBHOOK,
            "created_ms": 0,
            "updated_ms": 0,
            "address": {"url": self.receiver.url()},
            "timeout_s": 5.0,
        }
        made = Destination(**{**fields, **destination})
        lease = Lease(
            delivery_id=DeliveryId(bytes(16)),
            destination_id=made.id,
            event=stored,
            number=1,
            attempts_made=0,
            until_ms=0,
        )
        secret_address = {} if headers is None else {"headers": headers}
        return Shipment(lease, Target(made, secrets, secret_address))

    async def send(self, **arguments: Any) -> Outcome:
        return await self.start(self.shipment(**arguments))

    async def start(self, shipment: Shipment) -> Outcome:
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(of: Shipment, outcome: Outcome) -> None:
            assert of is shipment
            told.set_result(outcome)

        self.transport.start(shipment, done)
        assert not told.done()
        return await told


def run(
    scenario: Callable[[Sending], Awaitable[None]], *, policy: AddressPolicy | None = None, **limits: Any
) -> None:
    async def main() -> None:
        client = Client(policy if policy is not None else AddressPolicy(LOOPBACK), limits=Limits(**limits))
        clock = WallClock()
        transport = WebhookTransport(client, clock)
        async with Receiver() as receiver, asyncio.timeout(30):
            await client.open()
            await transport.open()
            try:
                await scenario(Sending(receiver, transport, clock))
            finally:
                await transport.close()
                await client.close()

    asyncio.run(main())
