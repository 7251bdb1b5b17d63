"""Tending in SQLite: what a round costs, and where a portion of it ends."""

from __future__ import annotations

from pathlib import Path

from engine.sqlite_store import counted_steps, opened, play_in
from tocsin.core.incident import IncidentAction, IncidentChange
from tocsin.engine.sqlite import tend
from tocsin.testing.engine_contract import Stage


def test_a_round_of_tending_looks_at_what_is_kept_once_whatever_goes_behind_it(tmp_path: Path) -> None:
    """Events with a live delivery and open incidents are past their time, and lie before what is dropped."""
    costs = []
    for count in (1000, 4000):
        directory = tmp_path / str(count)

        async def play(stage: Stage, count: int = count) -> None:
            create = IncidentChange(action=IncidentAction.CREATE, channel="c", at_ms=stage.clock.now_ms())
            await stage.store(*(stage.new(stage.destination(), incident=create) for _ in range(count)))
            await stage.store(*(stage.new() for _ in range(count + 1)))

        play_in(directory, play)
        connection = opened(directory)
        kept = tend.Kept(events_ms=0, audit_ms=None, jobs_ms=None)
        now_ms = connection.execute("select max(time_ms) + 1000 from event").get
        with counted_steps(connection) as steps:
            done = tend.tend(connection, now_ms=now_ms, kept=kept, place=tend.Place(), budget_ms=60_000)
            costs.append(steps())
        assert not done.more
        assert connection.execute("select count(*) from event").get == count + 1
        assert connection.execute("select count(*) from incident").get == count
        connection.close()
    small, large = costs
    assert large < 4.4 * small


def test_a_portion_of_tending_ends_at_its_time_and_the_next_goes_on_there(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new() for _ in range(150)))

    play_in(tmp_path, play)
    connection = opened(tmp_path)
    kept = tend.Kept(events_ms=0, audit_ms=None, jobs_ms=None)
    now_ms = connection.execute("select max(time_ms) + 1000 from event").get
    clock = iter(range(10_000))
    portions, place, more = 0, tend.Place(), True
    while more:
        done = tend.tend(
            connection, now_ms=now_ms, kept=kept, place=place, budget_ms=3000, monotonic_s=lambda: next(clock)
        )
        assert done.place.events > place.events or not done.more
        more, place = done.more, done.place
        portions += 1
    assert connection.execute("select count(*) from event").get == 1
    assert portions > 50
    connection.close()
