"""What another process on the same store has done a moment ago, or does at the same time."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from pipeline.job_house import House, counts, stored
from pipeline.stage import Stage, run
from receivers import LOOPBACK
from tocsin.core.delivery import DeliveryState
from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import Conflict, InvalidRequest, NotPermitted, Unavailable
from tocsin.core.identifiers import DEFAULT_ORGANISATION, ChannelId
from tocsin.core.job import JobState
from tocsin.core.organisation import Channel, Organisation
from tocsin.core.quota import PLAN_LIMITS, Plan
from tocsin.pipeline.account import Categories
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.channels import Channels
from tocsin.pipeline.conditions import ConditionLimits, Conditions
from tocsin.pipeline.destinations import DestinationBounds, Destinations, DestinationSpec
from tocsin.pipeline.ingest import Ingest, IngestLimits
from tocsin.pipeline.unsent import Unsent
from tocsin.transports.addresses import AddressPolicy, UrlChecks

_BOUNDS = DestinationBounds()


def test_what_a_destination_gets_that_was_just_made_elsewhere_is_sent(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        catalog = Catalog(stage.engine)
        await catalog.refresh()
        gateway = _gateway(stage, catalog)
        made = await _made(stage, catalog, gateway)
        assert stage.catalog.any_destination(made.id) is None
        receipt = await gateway.accept(stage.draft())
        await stage.until_all(receipt.deliveries, DeliveryState.DELIVERED)
        assert len(receipt.deliveries) == len(stage.remote.started) == 1

    run(tmp_path, scenario)


def test_bounds_count_what_was_made_elsewhere_a_moment_ago(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        elsewhere = Catalog(stage.engine)
        await elsewhere.refresh()
        organisation = Organisation(id=DEFAULT_ORGANISATION, name="ours", created_ms=0, plan=Plan.FREE)
        await stage.catalog.save(organisation)
        await elsewhere.refresh()
        room = {Plan.FREE: msgspec.structs.replace(PLAN_LIMITS[Plan.FREE], categories=4)}
        categories = [
            Categories(catalog=each, clock=stage.clock, ids=stage.ids, plan_limits=room)
            for each in (stage.catalog, elsewhere)
        ]
        await categories[0].create(DEFAULT_ORGANISATION, name="bug", color=1)
        # It makes those that are missing, and knows which.
        assert [each.name for each in await categories[1].quick_start(DEFAULT_ORGANISATION)] == ["sale", "question"]
        await categories[0].create(DEFAULT_ORGANISATION, name="last", color=1)
        with pytest.raises(NotPermitted):
            await categories[1].create(DEFAULT_ORGANISATION, name="late", color=1)

        channels = [Channels(each, 1) for each in (stage.catalog, elsewhere)]
        first, late = (
            Channel(
                id=ChannelId(bytes([number]) * 16),
                organisation_id=DEFAULT_ORGANISATION,
                name="c",
                password_hash="",
                created_ms=0,
            )
            for number in (1, 2)
        )
        await channels[0].add(first)
        with pytest.raises(InvalidRequest):
            await channels[1].add(late)

        bounds = DestinationBounds(per_organisation_max=1)
        await _made(stage, stage.catalog, _gateway(stage, stage.catalog), bounds)
        with pytest.raises(Conflict):
            await _made(stage, elsewhere, _gateway(stage, elsewhere), bounds)

    run(tmp_path, scenario, sending=False)


def test_what_waits_for_it_is_given_back_while_the_catalog_cannot_be_read(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("here")
        (kept,) = await stage.accept()
        await stage.until_all([kept], DeliveryState.DELIVERED)
        catalog = Catalog(stage.engine)
        await catalog.refresh()
        elsewhere = _gateway(stage, catalog)
        made = await _made(stage, catalog, elsewhere)
        stage.engine.faults["catalog_since"] = [Unavailable("the disk is away")]
        receipt = await elsewhere.accept(stage.draft(), only=made)
        await stage.signal.until(lambda: not stage.engine.faults["catalog_since"])
        await stage.until_looked()
        (waiting,) = await stage.deliveries(receipt.deliveries)
        assert (waiting.state, waiting.attempts_made) == (DeliveryState.READY, 0)
        assert waiting.due_ms == stage.clock.now_ms() + 1000, "soon, and not when its lease would have run out"
        stage.clock.advance_ms(1000)
        await stage.until_all(receipt.deliveries, DeliveryState.DELIVERED)

    run(tmp_path, scenario)


def test_a_batch_that_two_do_at_once_counts_once_and_the_later_one_leaves_the_next_to_the_other(
    tmp_path: Path,
) -> None:
    async def scenario(stage: Stage) -> None:
        events = await stored(stage, 10)
        slow = House(stage)
        slow.replays.hold()
        job = await slow.replay()
        await slow.replays.begun.wait()
        swift = House(stage)
        assert counts(await swift.ended(job)) == (JobState.FINISHED, 10, 0, 10, True)
        slow.replays.let_go()
        await stage.signal.until_found(lambda: _is_idle(slow))
        assert counts(await swift.ended(job)) == (JobState.FINISHED, 10, 0, 10, True)
        assert await swift.copied() == events

        tried = len(slow.replays.tried)
        swift.replays.hold()
        swift.replays.begun.clear()
        another = await swift.replay()
        await swift.replays.begun.wait()
        for _ in range(5):
            slow.runner.wake()
            await slow.runner._begin_turns()
        swift.replays.let_go()
        assert (await swift.ended(another)).done == 10
        assert len(slow.replays.tried) == tried
        await slow.stop()
        await swift.stop()

    run(tmp_path, scenario, sending=False)


def _gateway(stage: Stage, catalog: Catalog) -> Ingest:
    """Return what stores events in another process on the same store, where nothing is sent."""
    return Ingest(
        engine=stage.engine,
        catalog=catalog,
        conditions=Conditions(metrics=stage.metrics, clock=stage.clock, limits=ConditionLimits()),
        sender=Unsent(stage.clock),
        clock=stage.clock,
        ids=stage.ids,
        transports=frozenset({Transport.WEBHOOK}),
        limits=IngestLimits(),
    )


async def _made(stage: Stage, catalog: Catalog, gateway: Ingest, bounds: DestinationBounds = _BOUNDS) -> Destination:
    """Make a destination in the other process."""
    destinations = Destinations(
        catalog=catalog,
        ingest=gateway,
        vault=stage.vault,
        urls=UrlChecks(AddressPolicy(LOOPBACK)),
        clock=stage.clock,
        ids=stage.ids,
        entropy=os.urandom,
        bounds=bounds,
    )
    spec = DestinationSpec(name="new", transport=Transport.WEBHOOK, address={"url": "http://127.0.0.1:1"})
    made, _ = await destinations.create(DEFAULT_ORGANISATION, spec)
    return made


async def _is_idle(house: House) -> bool:
    return not house.runner._running
