"""The pull mailbox as a way out: what is put where, and what each fault means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.stage import Stage
from pipeline.stage import run as run_stage
from tocsin.bootstrap.adapters import EngineMailboxes
from tocsin.core.clock import DAY_MS
from tocsin.core.delivery import Deferred, Delivered, DeliveryState, ErrorClass, Lease, Outcome, Rejected
from tocsin.core.destination import Destination, Transport
from tocsin.core.device import Device, MailboxItem, Platform
from tocsin.core.errors import TocsinError, Unavailable
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import (
    DEFAULT_ORGANISATION,
    DeliveryId,
    DestinationId,
    EventId,
    OrganisationId,
)
from tocsin.engine.rows import MailboxQuery, SaveDevice
from tocsin.testing.clock import START_MS, ManualClock
from tocsin.transports.mailbox import MailboxTransport
from tocsin.transports.protocol import Shipment, Target

Put = Callable[[str, int], Awaitable[bool]]


class Shelf:
    """Mailboxes that answer as a test tells them."""

    def __init__(self, answer: Put) -> None:
        self._answer = answer
        self.puts: list[tuple[str, DeliveryId, EventId, int]] = []

    async def put(
        self,
        organisation_id: OrganisationId,
        device_key: str,
        delivery_id: DeliveryId,
        event_id: EventId,
        expires_ms: int,
    ) -> bool:
        assert organisation_id == DEFAULT_ORGANISATION
        self.puts.append((device_key, delivery_id, event_id, expires_ms))
        return await self._answer(device_key, expires_ms)


def shipment(secret_address: dict[str, Any] | None = None) -> Shipment:
    destination = Destination(
        id=DestinationId(bytes(16)),
        organisation_id=DEFAULT_ORGANISATION,
        name="phone",
        transport=Transport.MAILBOX,
        created_ms=0,
        updated_ms=0,
        address={"device_key": "***"},
    )
    event = Event(
        id=EventId(b"e" * 16),
        organisation_id=DEFAULT_ORGANISATION,
        dialect=Dialect.PROMPTJANG,
        source="s",
        type="t",
        time_ms=0,
        data=b"{}",
    )
    lease = Lease(
        delivery_id=DeliveryId(b"d" * 16),
        destination_id=destination.id,
        event=event,
        number=1,
        attempts_made=0,
        until_ms=0,
    )
    return Shipment(
        lease, Target(destination, (), {"device_key": "key-1"} if secret_address is None else secret_address)
    )


def outcome_of(answer: Put, sent: Shipment | None = None) -> tuple[Outcome, Shelf]:
    """Make one attempt; return its outcome and what was put."""

    async def main() -> tuple[Outcome, Shelf]:
        shelf, given = Shelf(answer), shipment() if sent is None else sent
        transport = MailboxTransport(shelf, clock=ManualClock(), kept_ms=DAY_MS)
        await transport.open()
        told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(of: Shipment, outcome: Outcome) -> None:
            assert of is given
            told.set_result(outcome)

        transport.start(given, done)
        assert not told.done(), "an outcome is never told from within start"
        outcome = await asyncio.wait_for(told, 5)
        await transport.close()
        return outcome, shelf

    return asyncio.run(main())


async def known(_key: str, _expires_ms: int) -> bool:
    return True


async def unknown(_key: str, _expires_ms: int) -> bool:
    return False


def failing(error: Exception) -> Put:
    async def answer(_key: str, _expires_ms: int) -> bool:
        raise error

    return answer


def test_an_item_is_put_into_the_device_s_mailbox_until_its_time_is_over() -> None:
    outcome, shelf = outcome_of(known)
    assert isinstance(outcome, Delivered)
    assert (outcome.attempt.error_class, outcome.attempt.error) == (None, None)
    assert outcome.attempt.exchange.request_line == "PUT mailbox of phone"
    assert shelf.puts == [("key-1", DeliveryId(b"d" * 16), EventId(b"e" * 16), START_MS + DAY_MS)]


def test_the_device_s_key_is_a_secret_and_not_in_the_attempt() -> None:
    for answer in (known, unknown, failing(Unavailable("away"))):
        outcome, _ = outcome_of(answer)
        assert "key-1" not in repr(outcome)


def test_a_device_that_is_not_there_is_refused_for_good() -> None:
    outcome, _ = outcome_of(unknown)
    assert isinstance(outcome, Rejected)
    assert not outcome.disable
    assert (outcome.attempt.error_class, outcome.attempt.error) == (ErrorClass.INTERNAL, "there is no such device")


@pytest.mark.parametrize("address", [{}, {"device_key": None}, {"device_key": 7}])
def test_an_address_without_a_key_puts_nothing(address: dict[str, Any]) -> None:
    outcome, shelf = outcome_of(known, shipment(address))
    assert isinstance(outcome, Rejected)
    assert shelf.puts == []


def test_a_store_that_cannot_write_uses_up_no_retry() -> None:
    outcome, _ = outcome_of(failing(Unavailable("the disk is full", retry_after_s=2)))
    assert isinstance(outcome, Deferred)
    assert (outcome.retry_after_s, outcome.counted) == (2, False)
    assert outcome.attempt.error == "the disk is full"
    outcome, _ = outcome_of(failing(Unavailable("the disk is full")))
    assert isinstance(outcome, Deferred)
    assert outcome.retry_after_s == 1.0


def test_any_other_error_is_tried_again_by_the_schedule() -> None:
    for error, told in ((TocsinError("told"), "told"), (RuntimeError("secret"), "a fault of ours: RuntimeError")):
        outcome, _ = outcome_of(failing(error))
        assert isinstance(outcome, Deferred)
        assert outcome.counted
        assert (outcome.attempt.error_class, outcome.attempt.error) == (ErrorClass.INTERNAL, told)


def test_what_is_under_way_when_it_closes_is_abandoned_without_a_word() -> None:
    async def never(_key: str, _expires_ms: int) -> bool:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def main() -> None:
        told: list[Outcome] = []
        transport = MailboxTransport(Shelf(never), clock=ManualClock())
        for _ in range(3):
            transport.start(shipment(), lambda _, outcome: told.append(outcome))
        await asyncio.sleep(0)
        await transport.close()
        assert told == []

    asyncio.run(main())


# -- on the real store -------------------------------------------------------------------------------------


def waiting(stage: Stage, key: str) -> MailboxQuery:
    return MailboxQuery(organisation_id=DEFAULT_ORGANISATION, device_key=key, now_ms=stage.clock.now_ms())


async def items(stage: Stage, key: str) -> list[MailboxItem]:
    return (await stage.engine.search(waiting(stage, key), limit=100)).rows


def run(directory: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    run_stage(
        directory,
        scenario,
        transports=lambda stage: {
            Transport.MAILBOX: MailboxTransport(EngineMailboxes(stage.engine), clock=stage.clock, kept_ms=DAY_MS)
        },
    )


async def device(stage: Stage, key: str, **fields: Any) -> None:
    made = Device(key=key, organisation_id=DEFAULT_ORGANISATION, platform=Platform.ANDROID, changed_ms=0, **fields)
    await stage.engine.mailbox_write([SaveDevice(made)])


def test_an_event_of_any_dialect_is_found_in_the_mailbox_once_and_not_after_its_time(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await device(stage, "phone")
        await stage.destination(transport=Transport.MAILBOX, address={"device_key": "phone"})
        ids = await stage.accept(2, dialect=Dialect.PINGPILOT)
        await stage.until_all(ids, DeliveryState.DELIVERED)
        assert [each.delivery_id for each in await items(stage, "phone")] == ids
        stage.clock.advance_ms(DAY_MS)
        assert await items(stage, "phone") == []

    run(tmp_path, scenario)


def test_a_device_that_was_replaced_or_never_was_gets_nothing(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await device(stage, "old", replaced_by="new")
        for key in ("old", "never"):
            made = await stage.destination(key, transport=Transport.MAILBOX, address={"device_key": key})
            ids = await stage.accept()
            await stage.until_all(ids, DeliveryState.EXPIRED)
            assert await items(stage, key) == []
            await stage.destinations.delete(DEFAULT_ORGANISATION, made.id)

    run(tmp_path, scenario)
