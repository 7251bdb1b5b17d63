"""Who tells streams: nothing is missed whoever comes and goes meanwhile, and nothing is done for nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipeline.live_stage import THEIRS, Gate, World, play, told, told_after_storing, with_data
from tocsin.core.destination import Filter
from tocsin.core.errors import RateLimited, Unavailable
from tocsin.core.identifiers import EventId
from tocsin.core.spelling import Sought
from tocsin.pipeline.live import End, Happening, Stream, StreamLimits


def test_nothing_is_read_while_nobody_listens(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.store(3)
        world.live.stored()
        await turns()
        assert world.engine.tails == 0
        stream = await world.listen()
        await told_after_storing(world, stream)
        world.live.close(stream)
        # One look may be under way.
        before = world.engine.tails
        for _ in range(3):
            world.live.stored()
            await turns()
        assert world.engine.tails <= before + 1

    play(tmp_path, scenario, StreamLimits(gather_s=0.0, poll_s=0.0))


async def turns() -> None:
    """Let everything that is ready have its turn, and what that makes ready, and so on."""
    for _ in range(200):
        await asyncio.sleep(0)


def test_what_another_process_stores_is_found_without_a_hint(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stream = await world.listen()
        for _ in range(3):
            await told_after_storing(world, stream)

    play(tmp_path, scenario)


def test_a_hint_is_followed_at_once(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stream = await world.listen()
        await told_after_hint(world, stream)
        await turns()
        await told_after_hint(world, stream)

    play(tmp_path, scenario, StreamLimits(poll_s=3600.0, gather_s=0.0))


async def told_after_hint(world: World, stream: Stream) -> None:
    """Store an event, say so, and see it told."""
    stored = await world.store()
    world.live.stored()
    assert await told(stream, 1) == stored


def test_who_joins_while_a_page_is_read_for_others_misses_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        first = await world.listen()
        gate = world.engine.before[await world.engine.newest()] = Gate()
        await gate.reached.wait()
        # The page that is about to be read has neither the other organisation's events nor any data.
        theirs, full = await world.listen(THEIRS), await world.listen(render=with_data, with_data=True)
        assert theirs.joined
        assert full.joined
        foreign, stored = await world.store(2, THEIRS), await world.store(1)
        gate.open()
        assert await told(first, 1) == stored
        assert await told(theirs, 2) == foreign
        assert await told(full, 1) == [b'{"a":1}']

    play(tmp_path, scenario)


def test_who_catches_up_joins_no_sooner_than_it_has_come_to_the_others(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        stored = await world.store(2)
        first = await world.listen()
        gate = world.engine.behind[begin] = Gate()
        second = await world.listen(after=begin)
        read = asyncio.create_task(told(second, 3))
        await gate.reached.wait()
        # What the second has read ends here, and the first is told of more.
        stored += await world.store()
        assert await told(first, 1) == stored[2:]
        gate.open()
        assert await read == stored

    play(tmp_path, scenario)


def test_who_joins_when_all_others_have_left_misses_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        stored = await world.store(2)
        first = await world.listen()
        gate = world.engine.behind[begin] = Gate()
        second = await world.listen(after=begin)
        read = asyncio.create_task(told(second, 4))
        await gate.reached.wait()
        further = world.engine.before[await world.engine.newest() + 1] = Gate()
        stored += await world.store()
        assert await told(first, 1) == stored[2:]
        await further.reached.wait()
        world.live.close(first)
        gate.open()
        await turns()
        assert second.joined
        # The look that began for the first lies behind an event that the second has not been told of.
        stored += await world.store()
        further.open()
        assert await read == stored

    play(tmp_path, scenario)


@pytest.mark.parametrize("page", [1, 2, 7])
def test_readers_who_come_at_any_time_are_told_everything_once(tmp_path: Path, page: int) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        stored: list[EventId] = []
        eighths = [asyncio.Event() for _ in range(8)]

        async def write() -> None:
            for eighth in eighths:
                eighth.set()
                for _ in range(8):
                    stored.extend(await world.store())
                    await world.store(1, THEIRS)

        async def read(eighth: asyncio.Event) -> list[bytes]:
            await eighth.wait()
            stream = await world.listen(after=begin)
            heard = await told(stream, 64)
            world.live.close(stream)
            return heard

        _, *heard = await asyncio.gather(write(), *(read(eighth) for eighth in eighths))
        assert heard == [stored] * 8

    play(tmp_path, scenario, StreamLimits(gather_s=0.0, poll_s=0.005, page_events=page))


def test_who_begins_in_the_past_is_told_no_more_at_once_than_is_written_at_once(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        start = await world.engine.newest()
        stored = await world.store(9)
        stream = await world.listen(after=start)
        portions: list[list[bytes]] = []
        while sum(map(len, portions)) < len(stored):
            portions.append([each.text for each in await stream.next(bytes_max=32, timeout_s=1)])
        # An event is told by its id, of 16 bytes.
        assert max(map(len, portions)) == 2
        assert [text for portion in portions for text in portion] == stored

    play(tmp_path, scenario, StreamLimits(write_bytes=32))


def test_a_store_that_is_away_for_a_while_loses_nothing(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stream = await world.listen()
        world.engine.faults = [Unavailable("away") for _ in range(3)]
        await told_after_storing(world, stream)
        assert not world.engine.faults

    play(tmp_path, scenario)


def test_a_store_that_is_away_is_told_to_who_comes_or_catches_up(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        await world.store(2)
        world.engine.faults = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await world.listen()
        stream = await world.listen(after=begin)
        world.engine.faults = [Unavailable("away")]
        with pytest.raises(Unavailable):
            await stream.next(bytes_max=1, timeout_s=1.0)

    play(tmp_path, scenario, StreamLimits(per_organisation_max=1))


def test_a_fault_in_one_message_ends_one_stream(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        def broken(_happening: Happening, _mark: str) -> bytes:
            raise RuntimeError("broken")

        faulty, sound = await world.listen(render=broken), await world.listen()
        await told_after_storing(world, sound)
        assert faulty.ended is End.BROKEN
        await told_after_storing(world, sound)

    play(tmp_path, scenario)


def test_a_long_past_of_which_little_is_wanted_is_gone_through_in_portions_of_time(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        await world.store(3)
        stream = await world.listen(after=begin, events=Filter(types=("nothing",)))
        for _ in range(2):
            before = stream.after
            assert await stream.next(bytes_max=1, timeout_s=0.0) == []
            assert before < stream.after, "a sign of life says how far it has come"
            assert not stream.joined
        await stream.next(bytes_max=1, timeout_s=0.0)
        assert stream.joined

    play(tmp_path, scenario, StreamLimits(page_events=1))


def test_texts_are_looked_for_in_data_that_are_read_for_that_alone(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        begin = await world.engine.newest()
        first = await world.listen()
        stored = await world.store(2)
        assert await told(first, 2) == stored
        streams = [
            await world.listen(after=after, text=Sought(text))
            for after in (None, begin)
            for text in ('"A":1', '"a":2')
        ]
        # Who comes from the past has to be read for before it joins.
        assert await told(streams[2], 2) == stored
        assert await streams[3].next(bytes_max=1, timeout_s=0.0) == []
        fresh = await world.store()
        for stream in (first, streams[0], streams[2]):
            assert await told(stream, 1) == fresh
        for stream in (streams[1], streams[3]):
            assert await stream.next(bytes_max=1, timeout_s=0.0) == []

    play(tmp_path, scenario)


def test_streams_that_look_for_a_text_are_few(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        first = await world.listen(text=Sought("a"))
        with pytest.raises(RateLimited, match="look for a text"):
            await world.listen(text=Sought("b"))
        await world.listen()
        await world.listen(THEIRS, text=Sought("b"))
        world.live.close(first)
        await world.listen(text=Sought("b"))

    play(tmp_path, scenario, StreamLimits(searching_max=1))
