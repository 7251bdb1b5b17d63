"""Row 15: what breaks the machinery is parked like any failure, and nothing else feels it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.remote import NOWHERE, Remote
from pipeline.stage import Stage, run
from tocsin.core.delivery import Deferred, DeliveryState, ErrorClass, Lease
from tocsin.core.destination import Destination, Filter, SealedSecret, Transport
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId
from tocsin.core.retry import RetryPolicy
from tocsin.pipeline.dispatcher import Dispatcher, DispatchLimits
from tocsin.pipeline.lane import Lane, LaneLimits
from tocsin.pipeline.vault import Vault
from tocsin.transports.protocol import Done, Shipment

TWICE = RetryPolicy((5.0, 5.0), jitter=0.0)
FEW = DispatchLimits(poll_s=0.01, sending_max=6, held_max=64, lane=LaneLimits(breaker_failures=10**9))
"""So little room that a place which is not given back is missed at once; and no breaker, so that all are tried."""

Way = Callable[["Breaking", Shipment, Done], None]


class Breaking(Remote):
    """A way out that breaks on poisonous events, as it is told."""

    way: Way

    def start(self, shipment: Shipment, done: Done) -> None:
        if shipment.lease.event.source != "poison":
            super().start(shipment, done)
            return
        self.started.append(shipment)
        self._signal.give()
        self.way(self, shipment, done)


def raises(remote: Breaking, shipment: Shipment, done: Done) -> None:
    raise RuntimeError("a secret in the text of a fault")


def tells_and_raises(remote: Breaking, shipment: Shipment, done: Done) -> None:
    asyncio.get_running_loop().call_soon(done, shipment, remote.fail(shipment))
    raise RuntimeError("a secret in the text of a fault")


def tells_twice(remote: Breaking, shipment: Shipment, done: Done) -> None:
    for _ in range(2):
        asyncio.get_running_loop().call_soon(done, shipment, remote.fail(shipment))


def tells_what_cannot_be_stored(remote: Breaking, shipment: Shipment, done: Done) -> None:
    outcome = Deferred(remote.attempt(503, error="half a character: \ud800"))
    asyncio.get_running_loop().call_soon(done, shipment, outcome)


def says_nothing(remote: Breaking, shipment: Shipment, done: Done) -> None:
    """Break after it began, so that nobody will ever hear of it."""


def breaking(way: Way) -> Callable[[Stage], dict[Transport, Remote]]:
    def build(stage: Stage) -> dict[Transport, Remote]:
        remote = Breaking(stage.signal, stage.clock)
        remote.way = way
        stage.remote = remote
        return {Transport.WEBHOOK: remote}

    return build


async def room_for_sound_ones(stage: Stage) -> int:
    """Return how many attempts to a destination that hangs begin, of more than there is room for."""
    stage.remote.answer = stage.remote.hang
    ids = await stage.accept(8, source="sound")
    begun = len(stage.remote.under_way)
    while stage.remote.under_way:
        stage.remote.finish()
    await stage.until_all(ids, DeliveryState.DELIVERED)
    stage.remote.answer = stage.remote.deliver
    return begun


async def parked_while_others_arrive(
    stage: Stage, poisoned: Destination | None = None, *, wait_ms: int = 0
) -> list[DeliveryId]:
    """Send poison and sound events in turns; the poison must be tried by its schedule and given up, the rest arrive.

    Args:
        wait_ms: how long an attempt takes to be given up.
    """
    await stage.destination("sound", filter=Filter(sources=("sound",)))
    room = await room_for_sound_ones(stage)
    if poisoned is None:
        await stage.destination("poisoned", filter=Filter(sources=("poison",)), retry=TWICE)
    poison: list[DeliveryId] = []
    sound: list[DeliveryId] = []
    for _ in range(5):
        poison += await stage.accept(source="poison")
        sound += await stage.accept(source="sound")
    await stage.until_all(sound, DeliveryState.DELIVERED)
    while not await stage.all_are(poison, DeliveryState.EXPIRED):
        stage.clock.advance_ms(5000 + wait_ms)
        await stage.until_looked(2)
        await stage.until_all(await stage.accept(source="sound"), DeliveryState.DELIVERED)
    for each in poison:
        assert [attempt.number for attempt in await stage.attempts(each)] == [1, 2, 3]
    assert await room_for_sound_ones(stage) == room, "a place was lost, or won"
    assert stage.remote.most_at_once <= 6
    return poison


async def errors_of(stage: Stage, ids: list[DeliveryId]) -> set[tuple[ErrorClass | None, str | None]]:
    return {(each.attempt.error_class, each.attempt.error) for id_ in ids for each in await stage.attempts(id_)}


REFUSED = (ErrorClass.STATUS, "remote answered 503")


@pytest.mark.parametrize(
    ("way", "told"),
    [
        (raises, (ErrorClass.INTERNAL, "internal error: RuntimeError")),
        (tells_and_raises, REFUSED),
        (tells_twice, REFUSED),
        (tells_what_cannot_be_stored, (ErrorClass.INTERNAL, "the attempt's record could not be stored")),
    ],
)
def test_a_way_out_that_breaks_on_some_events_delivers_the_others(
    tmp_path: Path, way: Way, told: tuple[ErrorClass, str]
) -> None:
    async def scenario(stage: Stage) -> None:
        poison = await parked_while_others_arrive(stage)
        assert await errors_of(stage, poison) == {told}

    run(tmp_path, scenario, dispatch=FEW, transports=breaking(way))


def test_an_attempt_of_which_nobody_ever_hears_is_given_up_when_its_lease_is_over(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.destination("sound", filter=Filter(sources=("sound",)))
        room = await room_for_sound_ones(stage)
        await stage.destination("poisoned", filter=Filter(sources=("poison",)), retry=RetryPolicy(()))
        poison = await stage.accept(3, source="poison")
        stage.clock.advance_ms(88_999)
        await stage.until_looked()
        assert await stage.all_are(poison, DeliveryState.LEASED)
        stage.clock.advance_ms(1)
        await stage.until_all(poison, DeliveryState.EXPIRED)
        told = await errors_of(stage, poison)
        assert told == {(ErrorClass.INTERNAL, "internal error: no outcome was told")}
        assert await room_for_sound_ones(stage) == room

    run(tmp_path, scenario, dispatch=FEW, transports=breaking(says_nothing))


def poisoned(stage: Stage, **fields: Any) -> Destination:
    given: dict[str, Any] = {
        "id": stage.destinations.new_id(),
        "organisation_id": DEFAULT_ORGANISATION,
        "name": "poisoned",
        "transport": Transport.WEBHOOK,
        "created_ms": 0,
        "updated_ms": 0,
        "address": {"url": NOWHERE},
        "filter": Filter(sources=("poison",)),
        "retry": TWICE,
    }
    return Destination(**(given | fields))


def test_a_destination_whose_secret_does_not_open_is_tried_by_its_schedule_and_not_disabled(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        other = Vault(b"x" * 32, bytes)
        broken = poisoned(stage, secrets=(SealedSecret(other.seal(b"whsec_", b"elsewhere"), 0),))
        await stage.catalog.save(broken)
        poison = await parked_while_others_arrive(stage, broken)
        assert await errors_of(stage, poison) == {(ErrorClass.INTERNAL, "internal error: SealBroken")}
        found = stage.catalog.any_destination(broken.id)
        assert found is not None
        assert (found.enabled, found.failing_since_ms) == (True, None), "our fault says nothing against the receiver"

    run(tmp_path, scenario, dispatch=FEW)


def test_a_destination_whose_way_out_is_gone_is_tried_by_its_schedule(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        there = poisoned(stage)
        await stage.catalog.save(there)
        await stage.change(there_now := stage.destinations.get(DEFAULT_ORGANISATION, there.id), paused=True)
        poison = await stage.accept(2, source="poison")
        gone = msgspec.structs.replace(
            stage.destinations.get(DEFAULT_ORGANISATION, there_now.id), transport=Transport.EMAIL, paused=False
        )
        await stage.catalog.save(gone)
        while not await stage.all_are(poison, DeliveryState.EXPIRED):
            stage.clock.advance_ms(5000)
            await stage.until_looked(2)
        assert await errors_of(stage, poison) == {(ErrorClass.INTERNAL, "internal error: KeyError")}

    run(tmp_path, scenario, dispatch=FEW)


class Trusting(Dispatcher):
    """A dispatcher that believes that nothing ever breaks."""

    def _start(self, destination: Destination, lane: Lane, lease: Lease) -> None:
        lane.sending += 1
        self._room.sending += 1
        self._transports[destination.transport].start(Shipment(lease, self._lanes.target(destination)), self._done)


def test_the_control_without_a_catch_all_the_poison_is_felt(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        async with asyncio.timeout(2):
            await parked_while_others_arrive(stage)

    with pytest.raises((TimeoutError, AssertionError)):
        run(tmp_path, scenario, dispatch=FEW, transports=breaking(raises), dispatcher=Trusting)
