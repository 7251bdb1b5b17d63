"""Mail transports for tests, and what comes of their attempts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from leases import made_event, made_lease
from mail_servers import MailServer, RawServer
from tocsin.core.delivery import Outcome
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId
from tocsin.testing.clock import START_MS, ManualClock
from tocsin.transports.email import EmailTransport
from tocsin.transports.protocol import Shipment, Target
from tocsin.transports.smtp.connections import Connections, SmtpLimits
from tocsin.transports.smtp.server import parse_smtp_url, sender_of
from tocsin.transports.unsubscribing import UnsubscribeLinks

ANN, BOB, CAT = "ann@a.example", "bob@b.example", "cat@c.example"
KEY = bytes(range(32))


class Sending:
    """A transport to one server, and what it says of each attempt."""

    def __init__(self, transport: EmailTransport, connections: Connections, clock: ManualClock) -> None:
        self.transport = transport
        self.connections = connections
        self.clock = clock

    async def send(self, *to: str, delivery: int = 0, timeout_s: float = 10.0, **fields: Any) -> Outcome:
        event = made_event(
            **{
                "dialect": Dialect.PINGPILOT,
                "type": "bug",
                "data": b'{"category":"bug","fields":{"amount":49.990}}',
                "extension": {"color": 0xFF0000, "emoji": "\U0001f41b"},
                "time_ms": START_MS,
                **fields,
            }
        )
        destination = Destination(
            id=DestinationId(bytes(16)),
            organisation_id=DEFAULT_ORGANISATION,
            name="mail",
            transport=Transport.EMAIL,
            created_ms=0,
            updated_ms=0,
            address={"to": list(to)},
            timeout_s=timeout_s,
        )
        lease = made_lease(event=event, delivery_id=DeliveryId(delivery.to_bytes(16, "big")))
        shipment = Shipment(lease, Target(destination))
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.transport.start(shipment, lambda _, outcome: told.set_result(outcome))
        assert not told.done()
        return await told


def run(
    url: str,
    scenario: Callable[[Sending], Awaitable[None]],
    *,
    trusted: str | None = None,
    public_url: str | None = None,
    smtp_from: str | None = None,
    **limits: Any,
) -> None:
    async def main() -> None:
        clock = ManualClock()
        server = parse_smtp_url(url)
        bounds = SmtpLimits(**limits)
        tls = None if trusted is None else ssl.create_default_context(cafile=trusted)
        connections = Connections(server, limits=bounds, clock=clock, tls=tls)
        transport = EmailTransport(
            connections,
            sender=sender_of(smtp_from, server),
            subject="PingPilot Alert",
            links=UnsubscribeLinks(KEY, public_url),
            clock=clock,
            limits=bounds,
        )
        async with asyncio.timeout(30):
            await transport.open()
            try:
                await scenario(Sending(transport, connections, clock))
            finally:
                await transport.close()

    asyncio.run(main())


@contextmanager
def plain(**options: Any) -> Iterator[tuple[MailServer, str]]:
    """Run a server without TLS; give its URL with it."""
    with MailServer(**options) as server:
        yield server, f"smtp://127.0.0.1:{server.port}"


def against(replies: dict[bytes, bytes], **options: Any) -> tuple[Outcome, RawServer]:
    """Return what an attempt at a server with these answers comes to."""
    found: list[Outcome] = []
    raw = RawServer(replies)
    to = options.pop("to", (ANN,))
    timeout_s = options.pop("timeout_s", 10.0)
    login = options.pop("login", "")

    async def main() -> None:
        async with raw:
            loop_run = asyncio.to_thread(run, f"smtp://{login}127.0.0.1:{raw.port}", scenario, **options)
            await loop_run

    async def scenario(sending: Sending) -> None:
        found.append(await sending.send(*to, timeout_s=timeout_s))

    asyncio.run(main())
    return found[0], raw
