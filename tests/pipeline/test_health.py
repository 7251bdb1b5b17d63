"""Destinations over days: failing is noted, recovery too, and the hopeless are disabled, which is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from pipeline.remote import NOWHERE
from pipeline.stage import Stage, run
from tocsin.core.clock import DAY_MS, rfc3339
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Filter
from tocsin.core.errors import Unavailable
from tocsin.core.event import Dialect
from tocsin.core.retry import RetryPolicy
from tocsin.engine.rows import Save
from tocsin.pipeline.health import DISABLED_TYPE, HealthLimits

GONE = "given up for good: remote answered 410"
NOTE_MS = HealthLimits().note_after_ms
DISABLE_MS = HealthLimits().disable_after_ms


def now(stage: Stage, destination: Destination) -> Destination:
    """Return a destination as it stands."""
    found = stage.catalog.any_destination(destination.id)
    assert found is not None
    return found


async def settled(stage: Stage) -> None:
    """Let the keeper write down what it was told: wait for a few rounds in which it did nothing any more."""
    quiet, before = 0, (-1, -1)
    while quiet < 3:
        await stage.engine.probe()
        await stage.catalog.refresh()
        written = (stage.catalog._revision, len(stage.engine.batches["accept"]))
        quiet, before = (quiet + 1 if written == before else 0), written


async def fail(stage: Stage, destination: Destination, *, dead: str | None = None) -> Destination:
    """Tell of a failed attempt; return the destination as it stands then."""
    stage.health.failed(now(stage, destination), dead=dead)
    await settled(stage)
    return now(stage, destination)


async def succeed(stage: Stage, destination: Destination) -> Destination:
    """Tell of an attempt that arrived; return the destination as it stands then."""
    stage.health.succeeded(now(stage, destination))
    await settled(stage)
    return now(stage, destination)


def test_failing_is_noted_after_a_minute_and_not_before(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        since_ms = stage.clock.now_ms()
        assert (await fail(stage, made)).failing_since_ms is None
        stage.clock.advance_ms(NOTE_MS - 1)
        assert (await fail(stage, made)).failing_since_ms is None
        stage.clock.advance_ms(1)
        assert (await fail(stage, made)).failing_since_ms == since_ms
        revision = now(stage, made).revision
        stage.clock.advance_ms(DAY_MS)
        assert (await fail(stage, made)).revision == revision, "it is written down once"

    run(tmp_path, scenario, sending=False)


def test_a_success_starts_the_count_anew_and_is_noted_where_failing_was(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        await fail(stage, made)
        stage.clock.advance_ms(NOTE_MS)
        revision = made.revision
        assert (await succeed(stage, made)).revision == revision, "what was not noted needs no write"
        assert (await fail(stage, made)).failing_since_ms is None
        stage.clock.advance_ms(NOTE_MS)
        assert (await fail(stage, made)).failing_since_ms == stage.clock.now_ms() - NOTE_MS
        assert (await succeed(stage, made)).failing_since_ms is None
        stage.clock.advance_ms(DISABLE_MS)
        assert (await fail(stage, made)).enabled

    run(tmp_path, scenario, sending=False)


def test_after_five_days_of_failures_it_is_disabled_and_told(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        since_ms = stage.clock.now_ms()
        await fail(stage, made)
        for _ in range(4):
            stage.clock.advance_ms(DAY_MS)
            assert (await fail(stage, made)).enabled
        stage.clock.advance_ms(DAY_MS - 1)
        assert (await fail(stage, made)).enabled
        stage.clock.advance_ms(1)
        disabled = await fail(stage, made)
        assert not disabled.enabled
        assert disabled.disabled_reason == "every attempt failed for 5 days"
        (event,) = await stage.events(DISABLED_TYPE)
        shown = f"dst_{made.id.hex()}"
        assert (event.dialect, event.source) == (Dialect.TOCSIN, f"tocsin/destination/{shown}")
        assert event.subject == shown
        assert msgspec.json.decode(event.data) == {
            "destination": shown,
            "name": "a",
            "reason": "every attempt failed for 5 days",
            "failing_since": rfc3339(since_ms),
        }

    run(tmp_path, scenario, sending=False)


def test_failing_since_survives_a_restart(tmp_path: Path) -> None:
    async def before(stage: Stage) -> None:
        made = await stage.destination()
        await fail(stage, made)
        stage.clock.advance_ms(NOTE_MS)
        await fail(stage, made)

    async def after(stage: Stage) -> None:
        stage.clock.advance_ms(DISABLE_MS)
        (made,) = stage.catalog.all_destinations()
        assert not (await fail(stage, made)).enabled

    run(tmp_path, before, sending=False)
    run(tmp_path, after, sending=False)


def test_gone_disables_at_once_though_something_else_waits_to_be_noted(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        await fail(stage, made)
        stage.clock.advance_ms(NOTE_MS)
        stage.health.failed(made, dead=None)
        disabled = await fail(stage, made, dead=GONE)
        assert (disabled.enabled, disabled.disabled_reason) == (False, GONE)
        assert disabled.failing_since_ms == stage.clock.now_ms() - NOTE_MS
        assert len(await stage.events(DISABLED_TYPE)) == 1

    run(tmp_path, scenario, sending=False)


def test_of_many_that_fail_at_once_it_is_disabled_and_told_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        for _ in range(50):
            stage.health.failed(made, dead=GONE)
        await settled(stage)
        stage.health.failed(made, dead=GONE)
        assert not (await fail(stage, made, dead=GONE)).enabled
        assert len(await stage.events(DISABLED_TYPE)) == 1

    run(tmp_path, scenario, sending=False)


def test_enabled_again_by_hand_it_gets_its_full_five_days(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        await fail(stage, made)
        stage.clock.advance_ms(DISABLE_MS)
        assert not (await fail(stage, made)).enabled
        await stage.change(now(stage, made), enabled=True)
        assert (await fail(stage, made)).enabled
        stage.clock.advance_ms(DISABLE_MS - 1)
        assert (await fail(stage, made)).enabled
        await stage.change(now(stage, made), enabled=True)
        stage.clock.advance_ms(1)
        assert (await fail(stage, made)).enabled
        stage.clock.advance_ms(DISABLE_MS)
        assert not (await fail(stage, made)).enabled

    run(tmp_path, scenario, sending=False)


@pytest.mark.parametrize("dead", [None, GONE])
def test_what_failed_at_the_old_address_is_not_held_against_the_new_one(tmp_path: Path, dead: str | None) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        await fail(stage, made)
        stage.clock.advance_ms(DISABLE_MS)
        await stage.change(made, address={"url": NOWHERE + "/moved"})
        stage.health.failed(made, dead=dead)
        await settled(stage)
        assert now(stage, made).enabled
        assert now(stage, made).failing_since_ms is None
        # The same, with the change between the telling and the writing.
        stage.health.failed(now(stage, made), dead=GONE)
        await stage.engine.catalog_write([Save(msgspec.structs.replace(now(stage, made), address={"url": "x"}))])
        await settled(stage)
        assert now(stage, made).enabled

    run(tmp_path, scenario, sending=False)


def test_a_destination_that_was_disabled_or_removed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        disabled, removed = await stage.destination("disabled"), await stage.destination("removed")
        await stage.change(disabled, enabled=False)
        await stage.destinations.delete(removed.organisation_id, removed.id)
        for each in (disabled, removed):
            stage.health.failed(each, dead=GONE)
            stage.health.succeeded(each)
        await settled(stage)
        assert now(stage, disabled).disabled_reason is None
        assert stage.catalog.any_destination(removed.id) is None
        assert await stage.events(DISABLED_TYPE) == []

    run(tmp_path, scenario, sending=False)


def test_a_change_by_hand_wins_and_the_next_attempt_tells_again(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        # Another process changes it; this one has not seen that yet.
        revised = msgspec.structs.replace(made, name="renamed")
        await stage.engine.catalog_write([Save(revised)])
        stage.health.failed(made, dead=GONE)
        await asyncio.sleep(0)
        await settled(stage)
        assert (now(stage, made).name, now(stage, made).enabled) == ("renamed", True)
        assert not (await fail(stage, made, dead=GONE)).enabled
        assert now(stage, made).name == "renamed"

    run(tmp_path, scenario, sending=False)


def test_the_news_waits_until_the_store_takes_it(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        made = await stage.destination()
        stage.engine.faults["accept"] = [Unavailable("the disk is full")]
        stage.health.failed(made, dead=GONE)
        await stage.signal.until_found(lambda: _told(stage))
        assert stage.engine.batches["accept"] == [1, 1]
        assert not now(stage, made).enabled

    run(tmp_path, scenario)


async def _told(stage: Stage) -> bool:
    return bool(await stage.events(DISABLED_TYPE))


def test_the_news_is_routed_like_any_event_and_not_to_the_disabled_one(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        stage.remote.answers["broken"] = stage.remote.gone
        broken = await stage.destination("broken", retry=RetryPolicy(()))
        await stage.destination("operator", filter=Filter(types=("tocsin.destination.*",)))
        (delivery_id,) = await stage.accept()
        await stage.until_all([delivery_id], DeliveryState.EXPIRED)
        await stage.signal.until(lambda: len(stage.remote.sent_to("operator")) == 1)
        (told,) = stage.remote.sent_to("operator")
        assert told.lease.event.type == DISABLED_TYPE
        assert len(stage.remote.sent_to("broken")) == 1
        assert not now(stage, broken).enabled
        assert await stage.accept() == []

    run(tmp_path, scenario)
