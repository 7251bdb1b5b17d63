"""What streams tell of deliveries."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.live_stage import HERE, MINE, THEIRS, World, play, told, told_after_storing
from tocsin.core.delivery import Attempt, DeliveryState, ErrorClass, Exchange, Lease
from tocsin.engine.rows import Finished, RetryAt, Settlement
from tocsin.pipeline.live import Happening, StreamLimits

ATTEMPT = Attempt(
    started_ms=1,
    duration_ms=2,
    exchange=Exchange(request_line="POST /"),
    status_code=503,
    error_class=ErrorClass.STATUS,
    error="busy",
)


def settlements(lease: Lease) -> dict[str, Settlement]:
    """Return what may become of a lease."""
    return {
        "delivered": Settlement(lease, ATTEMPT, Finished(DeliveryState.DELIVERED)),
        "expired": Settlement(lease, ATTEMPT, Finished(DeliveryState.EXPIRED)),
        "cancelled": Settlement(lease, None, Finished(DeliveryState.CANCELLED)),
        "ready": Settlement(lease, ATTEMPT, RetryAt(5)),
    }


@pytest.mark.parametrize("which", ["delivered", "expired", "cancelled", "ready"])
def test_what_became_of_a_delivery_is_told_behind_its_event(tmp_path: Path, which: str) -> None:
    async def scenario(world: World) -> None:
        stream, foreign = await world.listen(), await world.listen(THEIRS)
        stored = await world.accept(MINE, HERE)
        settlement = settlements(stored.leases[0])[which]
        world.live.settled([settlement], await world.engine.settle([settlement]))
        assert await told(stream, 2) == [stored.event.id, which.encode()]
        assert await foreign.next(bytes_max=1, timeout_s=0.05) == []

    play(tmp_path, scenario)


def test_what_came_too_late_or_was_given_back_is_not_told(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stream = await world.listen()
        stored = await world.accept(MINE, HERE)
        (lease,) = stored.leases
        late = settlements(lease)["expired"]
        world.live.settled([Settlement(lease, None, RetryAt(0)), late, late], [True, False, False])
        world.live.settled([settlements(lease)["delivered"]], [True])
        assert await told(stream, 2) == [stored.event.id, b"delivered"]

    play(tmp_path, scenario)


def test_an_attempt_that_does_not_count_has_a_number_all_the_same(tmp_path: Path) -> None:
    def numbers(happening: Happening, _mark: str) -> bytes:
        change = happening.change
        return b"event" if change is None else b"%d of %d" % (change.number, change.delivery.attempts_made)

    async def scenario(world: World) -> None:
        stream = await world.listen(render=numbers)
        (lease,) = (await world.accept(MINE, HERE)).leases
        both = [Settlement(lease, ATTEMPT, RetryAt(0, counted)) for counted in (False, True)]
        world.live.settled(both, [True, True])
        assert await told(stream, 3) == [b"event", b"1 of 0", b"1 of 1"]

    play(tmp_path, scenario)


def test_deliveries_that_wait_to_be_told_are_bounded_and_forgotten_with_the_last_reader(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stream = await world.listen()
        stored = await world.accept(MINE, HERE)
        settlement = settlements(stored.leases[0])["delivered"]
        world.live.settled([settlement] * 9, [True] * 9)
        assert await told(stream, 3) == [stored.event.id, b"delivered", b"delivered"]
        assert await stream.next(bytes_max=1, timeout_s=0.05) == []
        world.live.settled([settlement], [True])
        world.live.close(stream)
        again = await world.listen()
        await told_after_storing(world, again)

    play(tmp_path, scenario, StreamLimits(changes_max=2, gather_s=0.0, poll_s=0.01))
