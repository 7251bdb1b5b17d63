"""Quiet hours in the pipeline: what can wait is held until they end, what is critical is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, Delivery, DeliveryPhase, DeliveryState, Outcome, phase_of
from tocsin.core.destination import Destination, Transport
from tocsin.core.event import Severity
from tocsin.core.identifiers import DeliveryId
from tocsin.core.quiet_hours import QuietHours
from tocsin.core.retry import RetryPolicy
from tocsin.engine.rows import Save
from tocsin.pipeline.dispatcher import DispatchLimits
from tocsin.testing.clock import START_MS
from tocsin.transports.protocol import Shipment

HOUR_MS = 3_600_000
NIGHT = QuietHours(start="22:00", end="07:00")
"""The stage's clock starts at midnight."""
MORNING_MS = START_MS + 7 * HOUR_MS
ADDRESS = {"webhook_url": "https://discord.example/api/webhooks/1/a"}


def play(directory: Path, scenario: Callable[[Stage], Awaitable[None]]) -> None:
    """Play a scenario in which Discord's far end is the test's."""
    run(directory, scenario, transports=lambda stage: {Transport.DISCORD: stage.remote})


async def chat(stage: Stage, **fields: Any) -> Destination:
    """Store a Discord destination with quiet hours."""
    given: dict[str, Any] = {"transport": Transport.DISCORD, "address": ADDRESS, "quiet_hours": NIGHT}
    return await stage.destination("chat", **(given | fields))


async def until_due(stage: Stage, ids: Sequence[DeliveryId], due_ms: int) -> None:
    """Return once all of these deliveries wait until then."""

    async def wait() -> bool:
        found = await stage.deliveries(ids)
        return all(each.state is DeliveryState.READY and each.due_ms == due_ms for each in found)

    await stage.signal.until_found(wait)


def sent(stage: Stage) -> list[bytes]:
    """Return the deliveries that were attempted, in that order."""
    return [shipment.lease.delivery_id for shipment in stage.remote.started]


def at_ms(text: str) -> int:
    """Return the milliseconds of a date-time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize("ordered", [True, False])
def test_what_can_wait_is_held_until_they_end_and_then_sent_in_order(tmp_path: Path, ordered: bool) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, ordered=ordered)
        held = await stage.accept(20, severity=Severity.HIGH)
        await until_due(stage, held, MORNING_MS)
        rows: list[Delivery] = await stage.deliveries(held)
        assert {phase_of(each.state, each.attempts_made) for each in rows} == {DeliveryPhase.NEW}
        stage.clock.set_ms(MORNING_MS - 1)
        await stage.until_looked()
        assert stage.remote.started == []
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held, DeliveryState.DELIVERED)
        assert sent(stage) == held

    play(tmp_path, scenario)


def test_what_is_critical_is_sent_past_what_is_held_of_the_same_subject(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage)
        (held,) = await stage.accept(subject="s")
        await until_due(stage, [held], MORNING_MS)
        urgent = await stage.accept(2, subject="s", severity=Severity.CRITICAL)
        await stage.until_all(urgent, DeliveryState.DELIVERED)
        assert sent(stage) == urgent
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all([held], DeliveryState.DELIVERED)

    play(tmp_path, scenario)


def test_what_is_critical_within_them_is_in_order_among_itself(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await chat(stage, concurrency=4)
        stage.remote.answer = stage.remote.hang
        first, second = await stage.accept(2, subject="s", severity=Severity.CRITICAL)
        await stage.until_started(1)
        await stage.until_looked()
        assert sent(stage) == [first]
        stage.remote.finish()
        await stage.until_started(2)
        assert sent(stage) == [first, second]

    play(tmp_path, scenario)


def test_what_is_critical_does_not_wait_for_a_backlog_to_be_held(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        await stage.change(made, paused=True)
        await stage.accept(50)
        urgent = await stage.accept(severity=Severity.CRITICAL)
        await stage.change(made, paused=False)
        await stage.accept()
        await stage.until_all(urgent, DeliveryState.DELIVERED)
        assert sent(stage) == urgent

    # Looked for once in a while: only what was just accepted, or is known to be there, is claimed in time.
    run(
        tmp_path,
        scenario,
        dispatch=DispatchLimits(poll_s=600.0, claim_per_destination=4),
        transports=lambda stage: {Transport.DISCORD: stage.remote},
    )


def test_a_test_is_sent_at_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        receipt = await stage.destinations.test(made.organisation_id, made.id)
        await stage.until_all(receipt.deliveries, DeliveryState.DELIVERED)

    play(tmp_path, scenario)


def test_a_retry_that_falls_into_them_waits(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        def once(shipment: Shipment) -> Outcome:
            return stage.remote.deliver(shipment) if shipment.lease.attempts_made else stage.remote.fail(shipment)

        stage.remote.answer = once
        stage.clock.set_ms(START_MS - 2 * HOUR_MS - 1000)
        made = await chat(stage, retry=RetryPolicy((60.0,), jitter=0.0))
        delivery = await stage.accept()
        await stage.until_recorded(1)
        stage.clock.set_ms(START_MS - 2 * HOUR_MS + 59_000)
        await until_due(stage, delivery, MORNING_MS)
        assert len(sent(stage)) == 1
        assert made.quiet_hours == NIGHT
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(delivery, DeliveryState.DELIVERED)
        assert len(await stage.attempts(delivery[0])) == 2, "that it was held is no attempt"

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("evening", "morning"),
    [
        ("2026-03-28T21:30", "2026-03-29T05:00"),
        ("2026-10-24T20:30", "2026-10-25T06:00"),
        ("2026-01-10T21:30", "2026-01-11T06:00"),
    ],
    ids=["an hour less", "an hour more", "winter"],
)
def test_they_follow_the_clock_on_the_wall(tmp_path: Path, evening: str, morning: str) -> None:
    async def scenario(stage: Stage) -> None:
        stage.clock.set_ms(at_ms(evening))
        await chat(stage, quiet_hours=QuietHours(start="22:00", end="07:00", timezone="Europe/Berlin"))
        held = await stage.accept()
        await until_due(stage, held, at_ms(morning))
        stage.clock.set_ms(at_ms(morning))
        await stage.until_all(held, DeliveryState.DELIVERED)

    play(tmp_path, scenario)


def test_what_is_held_survives_a_restart(tmp_path: Path) -> None:
    held: list[DeliveryId] = []

    async def before(stage: Stage) -> None:
        await chat(stage)
        held.extend(await stage.accept(3))
        await until_due(stage, held, MORNING_MS)

    async def after(stage: Stage) -> None:
        stage.clock.set_ms(MORNING_MS - 1)
        await stage.until_looked()
        assert stage.remote.started == []
        stage.clock.set_ms(MORNING_MS)
        await stage.until_all(held, DeliveryState.DELIVERED)
        assert sent(stage) == held

    play(tmp_path, before)
    play(tmp_path, after)


def test_without_them_what_was_held_goes_at_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        held = await stage.accept(20)
        await until_due(stage, held, MORNING_MS)
        await stage.change(made, quiet_hours=None)
        await stage.until_all(held, DeliveryState.DELIVERED)
        assert sent(stage) == held

    play(tmp_path, scenario)


def test_the_change_itself_lets_it_go_whoever_sends_then(tmp_path: Path) -> None:
    held: list[DeliveryId] = []

    async def before(stage: Stage) -> None:
        await chat(stage)
        held.extend(await stage.accept(3))
        await until_due(stage, held, MORNING_MS)

    async def change(stage: Stage) -> None:
        stage.clock.set_ms(START_MS + HOUR_MS)
        (made,) = stage.catalog.all_destinations()
        await stage.change(made, quiet_hours=None)
        assert {each.due_ms for each in await stage.deliveries(held)} == {START_MS + HOUR_MS}

    play(tmp_path, before)
    run(tmp_path, change, sending=False, transports=lambda stage: {Transport.DISCORD: stage.remote})


def test_longer_ones_hold_it_longer_and_shorter_ones_less_long(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        held = await stage.accept(5)
        await until_due(stage, held, MORNING_MS)
        await stage.change(made, quiet_hours=QuietHours(start="22:00", end="09:00"))
        await until_due(stage, held, MORNING_MS + 2 * HOUR_MS)
        await stage.change(made, quiet_hours=QuietHours(start="22:00", end="01:00"))
        await until_due(stage, held, START_MS + HOUR_MS)
        assert stage.remote.started == []
        stage.clock.set_ms(START_MS + HOUR_MS)
        await stage.until_all(held, DeliveryState.DELIVERED)

    play(tmp_path, scenario)


def test_what_a_remote_wants_to_wait_for_goes_on_waiting(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await chat(stage, retry=RetryPolicy((60.0,), jitter=0.0, delay_max_s=8 * 3600.0))
        stage.remote.answer = lambda _: Deferred(stage.remote.attempt(429), 8 * 3600.0, counted=False)
        limited = await stage.accept(severity=Severity.CRITICAL)
        await until_due(stage, limited, START_MS + 8 * HOUR_MS)
        await stage.change(made, quiet_hours=None)
        await stage.until_looked()
        await until_due(stage, limited, START_MS + 8 * HOUR_MS)
        assert len(sent(stage)) == 1

    play(tmp_path, scenario)


def test_what_another_process_puts_back_by_the_old_ones_goes_too(tmp_path: Path) -> None:
    """The change comes from elsewhere, and lets nothing go itself: all of it is put back behind the change."""

    async def scenario(stage: Stage) -> None:
        made = await chat(stage)
        held = await stage.accept(3)
        await until_due(stage, held, MORNING_MS)
        await stage.engine.catalog_write([Save(msgspec.structs.replace(made, quiet_hours=None))])
        await stage.until_looked()
        await until_due(stage, held, MORNING_MS)
        await stage.catalog.refresh()
        await stage.until_all(held, DeliveryState.DELIVERED)

    play(tmp_path, scenario)
