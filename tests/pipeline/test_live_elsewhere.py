"""What streams tell of deliveries that other processes send."""

from __future__ import annotations

from pathlib import Path

from pipeline.live_stage import HERE, MINE, World, named, play, told
from pipeline.test_live_deliveries import settlements
from tocsin.core.delivery import Lease
from tocsin.core.spelling import Sought
from tocsin.core.stream import StreamKind
from tocsin.pipeline.live import Elsewhere, ElsewhereLimits, Happening

LIMITS = ElsewhereLimits(look_every_s=0.01, deliveries_max=20)


def elsewhere_of(world: World) -> Elsewhere:
    return Elsewhere(world.live, engine=world.engine, clock=world.clock, limits=LIMITS)


async def settle(world: World, lease: Lease, which: str) -> None:
    """Record what another process made of a delivery."""
    assert await world.engine.settle([settlements(lease)[which]]) == [True]


def test_what_another_process_made_of_a_delivery_is_told_once_after_its_event(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        elsewhere = elsewhere_of(world)
        before = await world.accept(MINE, HERE)
        over = await world.accept(MINE, HERE)
        await settle(world, over.leases[0], "expired")
        stream = await world.listen()
        await elsewhere.look()
        new = await world.accept(MINE, HERE)
        await settle(world, new.leases[0], "delivered")
        await settle(world, before.leases[0], "ready")
        for _ in range(5):
            await elsewhere.look()
        # What was over before anybody listened is not told.
        seen = await told(stream, 3)
        assert seen[0] == new.event.id
        assert sorted(seen[1:]) == [b"delivered", b"ready"]
        for _ in range(3):
            await elsewhere.look()
        assert await stream.next(bytes_max=1, timeout_s=0.05) == []

    play(tmp_path, scenario)


def test_what_this_process_recorded_is_told_by_itself_alone(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        elsewhere = elsewhere_of(world)
        stream = await world.listen()
        await elsewhere.look()
        stored = await world.accept(MINE, HERE)
        settlement = settlements(stored.leases[0])["delivered"]
        verdicts = await world.engine.settle([settlement])
        # It is found before it is told of, and is not handed over then.
        await elsewhere.look()
        world.live.settled([settlement], verdicts)
        elsewhere.settled([settlement], verdicts)
        for _ in range(3):
            await elsewhere.look()
        assert await told(stream, 2) == [stored.event.id, b"delivered"]
        assert await stream.next(bytes_max=1, timeout_s=0.05) == []

    play(tmp_path, scenario)


def test_nothing_is_looked_at_of_those_whom_nobody_tells_of_deliveries(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        elsewhere = elsewhere_of(world)
        stream = await world.listen(kinds=frozenset({StreamKind.EVENT}))
        await elsewhere.look()
        assert elsewhere._watched == {}
        deliveries = await world.listen()
        await elsewhere.look()
        assert list(elsewhere._watched) == [MINE]
        world.live.close(deliveries)
        await elsewhere.look()
        assert elsewhere._watched == {}
        world.live.close(stream)

    play(tmp_path, scenario)


def test_the_newest_are_looked_at_and_those_that_are_over_are_not_told_again(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        elsewhere = elsewhere_of(world)
        stream = await world.listen(kinds=frozenset({StreamKind.DELIVERY}))
        await elsewhere.look()
        for _ in range(6):
            for number in range(LIMITS.deliveries_max // 2):
                stored = await world.accept(MINE, HERE)
                if number % 2:
                    await settle(world, stored.leases[0], "delivered")
            for _ in range(2):
                await elsewhere.look()
        standing = [each.told for each in elsewhere._watched[MINE].values()]
        assert 0 < standing.count((0, False)) <= LIMITS.deliveries_max
        assert standing.count((1, True)) == LIMITS.deliveries_max
        assert await told(stream, 30) == [b"delivered"] * 30
        assert await stream.next(bytes_max=1, timeout_s=0.05) == []

    play(tmp_path, scenario)


def test_a_text_is_looked_for_in_the_data_of_their_events(tmp_path: Path) -> None:
    def whole(happening: Happening, mark: str) -> bytes:
        return named(happening, mark) if happening.change is None else happening.event.data

    async def scenario(world: World) -> None:
        elsewhere = elsewhere_of(world)
        stream = await world.listen(text=Sought("a"), kinds=frozenset({StreamKind.DELIVERY}), render=whole)
        await elsewhere.look()
        stored = await world.accept(MINE, HERE)
        await settle(world, stored.leases[0], "delivered")
        for _ in range(3):
            await elsewhere.look()
        assert await told(stream, 1) == [stored.event.data]

    play(tmp_path, scenario)
