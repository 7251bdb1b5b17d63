"""Searches of events in SQLite: where each starts from, and how it stops at its bounds and goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import apsw
import apsw.ext
import msgspec
import pytest

from engine.sqlite_store import sqlite_factory
from tocsin.core.delivery import DeliveryState, EventStatus
from tocsin.core.destination import Filter
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.engine import migrations
from tocsin.engine.rows import DeliveryQuery, EventQuery, Finished, Settlement
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.engine.sqlite.event_search import Halted, until
from tocsin.engine.sqlite.leads import choose
from tocsin.engine.sqlite.search import search
from tocsin.engine.sqlite.sql import SQL
from tocsin.engine.sqlite.wanted import prepare
from tocsin.testing.engine_contract import Stage

OURS = EventQuery(organisation_id=OrganisationId(b"o" * 16), environment=Environment.LIVE)

FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "both environments": {"environment": None},
    "window": {"since_ms": 1, "until_ms": 2},
    "dialect": {"filter": Filter(dialects=(Dialect.PUSHGO, Dialect.BUILDABLE))},
    "severity": {"filter": Filter(severities=(Severity.HIGH, Severity.LOW))},
    "source": {"source": "s"},
    "source pattern": {"filter": Filter(sources=("s/*",))},
    "type": {"type": "t"},
    "types": {"filter": Filter(types=("t", "u"))},
    "type pattern": {"filter": Filter(types=("t.*",))},
    "subject": {"subject": "s"},
    "subject pattern": {"filter": Filter(subjects=("s?",))},
    "destination": {"destination_id": DestinationId(b"d" * 16)},
    "unreplayed": {"unreplayed": True},
    "text": {"text": 'a "b"'},
    **{f"status {each}": {"status": each} for each in EventStatus},
}

PLAINLY_ORDERED = {"none", "both environments", "window", "dialect", "severity", "source", "type", "types", "subject"}
"""Answered from an index alone, in its order."""


def _play(directory: Path, scene: Any, **settings: Any) -> None:
    async def run() -> None:
        factory = sqlite_factory(directory, **settings)
        stage = Stage(factory)
        await stage.open()
        try:
            await scene(stage)
        finally:
            await stage.close()

    asyncio.run(run())


def _plans(connection: apsw.Connection, query: EventQuery, *, cursor: bytes | None = None) -> Iterator[list[str]]:
    """Return the plan of each statement that a search runs."""
    texts: list[str] = []

    def trace(_cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
        texts.append(text)
        return True

    connection.exec_trace = trace
    for limit in (3, 100):
        search(connection, query, limit=limit, cursor=cursor, offset=1, now_ms=1)
    connection.exec_trace = None
    return _plans_of(connection, texts)


def _plans_of(connection: apsw.Connection, texts: list[str]) -> Iterator[list[str]]:
    for text in texts:
        lines: list[str] = []

        def walk(node: Any, lines: list[str] = lines) -> None:
            lines.append(node.detail)
            for each in node.sub or ():
                walk(each)

        walk(apsw.ext.query_info(connection, text, explain_query_plan=True).query_plan)
        yield lines


def _goes_through_a_table(plan: list[str]) -> bool:
    tables = {"event", "e", "i", "delivery", "delivery_history", "d", "replayed"}
    # The entries of a lead may stand for the events themselves.
    tables -= {line.split()[1] for line in plan if line.startswith("CO-ROUTINE")}
    searched = [line for line in plan if line.startswith(("SCAN", "SEARCH")) and line.split()[1] in tables]
    # By the organisation alone is as good as all of it.
    return any(line.startswith("SCAN") or line.endswith("(organisation_id=?)") for line in searched)


def _filled(directory: Path) -> apsw.Connection:
    """Return a store that has events of every kind that the filters name."""
    connection = apsw.Connection(str(directory / "plans.db"))
    for migration in migrations.load("sqlite"):
        connection.execute(migration.text)
    connection.execute("begin")
    for number in range(3000):
        event_id = number.to_bytes(16, "big")
        connection.execute(
            "insert into event (seq, bucket, id, organisation_id, dialect, source, type, subject, severity, "
            "environment, time_ms, data) values (?, 0, ?, ?, 'pushgo', ?, ?, ?, 'high', 'live', 0, x'7b7d')",
            (number + 1, event_id, OURS.organisation_id, f"s/{number % 2}", f"t.{number % 2}", f"s{number}"),
        )
        connection.execute(
            "insert into delivery_history (id, bucket, organisation_id, event_id, destination_id, state, "
            "settled_ms, lease, attempts) values (?, 0, ?, ?, ?, 3, 0, 0, 1)",
            (event_id, OURS.organisation_id, event_id, b"d" * 16),
        )
    connection.execute("commit")
    return connection


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[apsw.Connection]:
    connection = _filled(tmp_path_factory.mktemp("plans"))
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[apsw.Connection, OrganisationId]]:
    """A store in which most events are alike and delivered, and one or a few of each other kind."""
    directory = tmp_path_factory.mktemp("uneven")
    ours: list[OrganisationId] = []

    async def play(stage: Stage) -> None:
        destination = stage.destination()
        usual: dict[str, Any] = {"type": "usual", "source": "usual", "severity": Severity.LOW}
        await stage.store(*(stage.new(destination, **usual) for _ in range(1500)))
        odd: dict[str, Any] = {"type": "rare", "source": "rare", "severity": Severity.CRITICAL}
        rare = stage.new(destination, dialect=Dialect.PUSHGO, **odd)
        await stage.store(rare, stage.new(type="usual", environment=Environment.TEST), stage.new(type="r2"))
        leases = await stage.claim(limit=1400, per_destination=1400)
        settled = [Settlement(each, stage.attempt(), Finished(DeliveryState.DELIVERED)) for each in leases[1:]]
        await stage.engine.settle(settled)
        await stage.finish(leases[0], DeliveryState.EXPIRED)
        await stage.store(stage.new(replay_of=rare.event.id, type="usual"))
        ours.append(stage.organisation)

    _play(directory, play)
    connection = apsw.Connection(str(directory / DATABASE_FILE))
    yield connection, ours[0]
    connection.close()


@pytest.mark.parametrize("name", [name for name in SQL.names() if "{marks}" in SQL[name]])
def test_many_ids_are_found_by_their_ids(filled: apsw.Connection, name: str) -> None:
    for plan in _plans_of(filled, [SQL.many(name, 128)]):
        assert not _goes_through_a_table(plan), plan


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("cursor", [None, (1500).to_bytes(16, "big")])
def test_no_filter_alone_goes_through_a_table(filled: apsw.Connection, name: str, cursor: bytes | None) -> None:
    query = msgspec.structs.replace(OURS, **FILTERS[name])
    plans = list(_plans(filled, query, cursor=cursor))
    assert plans
    for plan in plans:
        assert not _goes_through_a_table(plan), plan
        if name in PLAINLY_ORDERED:
            assert not any("TEMP B-TREE" in line for line in plan), plan


@pytest.mark.parametrize("names", list(combinations(FILTERS, 2)), ids=" and ".join)
def test_no_pair_of_filters_goes_through_a_table(filled: apsw.Connection, names: tuple[str, str]) -> None:
    first, second = (FILTERS[name] for name in names)
    both = {**first, **second}
    if "filter" in first and "filter" in second:
        both["filter"] = msgspec.structs.replace(
            first["filter"],
            **{name: value for name, value in msgspec.structs.asdict(second["filter"]).items() if value},
        )
    for ascending in (False, True):
        query = msgspec.structs.replace(OURS, ascending=ascending, **both)
        for plan in _plans(filled, query):
            assert not _goes_through_a_table(plan), plan


@pytest.mark.parametrize(
    ("status", "index"),
    [
        (EventStatus.PROCESSING, "delivery_leased"),
        (EventStatus.RETRYING, "delivery_retrying"),
        (EventStatus.QUEUED, "delivery_untried"),
        (EventStatus.EXPIRED, "delivery_history_given_up"),
    ],
)
def test_a_status_is_read_from_its_index_alone_and_not_looked_up_again(
    filled: apsw.Connection, status: EventStatus, index: str
) -> None:
    query = msgspec.structs.replace(OURS, status=status)
    lines = [line for plan in _plans(filled, query) for line in plan]
    assert all("USING COVERING INDEX" in line for line in lines if index in line)
    assert any(index in line for line in lines)
    assert not any("delivery_history_by_event" in line for line in lines)


@pytest.mark.parametrize(
    ("given", "index"),
    [
        ({}, "event_by_organisation"),
        ({"type": "rare"}, "event_by_type"),
        ({"type": "usual", "source": "rare"}, "event_by_source"),
        ({"source": "usual", "type": "rare"}, "event_by_type"),
        ({"filter": Filter(types=("r*",), sources=("u*",))}, "event_by_type"),
        ({"filter": Filter(severities=(Severity.CRITICAL,)), "type": "usual"}, "event_by_severity"),
        ({"type": "usual", "environment": Environment.TEST}, "event_by_type"),
        ({"filter": Filter(dialects=(Dialect.PUSHGO,)), "type": "usual"}, "event_by_organisation"),
        ({"status": EventStatus.EXPIRED, "type": "usual"}, "delivery_history_given_up"),
        ({"status": EventStatus.PROCESSING}, "delivery_leased"),
        ({"status": EventStatus.QUEUED}, "delivery_untried"),
        ({"status": EventStatus.RETRYING}, "delivery_retrying"),
        ({"status": EventStatus.RECEIVED, "type": "usual"}, "event_unrouted"),
        ({"status": EventStatus.REPLAYED}, "replayed_by_organisation"),
        ({"status": EventStatus.DELIVERED}, "event_by_organisation"),
        ({"status": EventStatus.DELIVERED, "type": "rare"}, "event_by_type"),
    ],
)
def test_a_search_starts_from_what_is_rare(
    uneven: tuple[apsw.Connection, OrganisationId], given: dict[str, Any], index: str
) -> None:
    connection, organisation_id = uneven
    query = EventQuery(organisation_id=organisation_id, environment=Environment.LIVE)
    wanted = prepare(connection, msgspec.structs.replace(query, **given))
    lead = choose(connection, wanted, wanted.span)
    assert f"indexed by {index}" in lead.branches[0].tables


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("given", [{"text": "needle"}, {"filter": Filter(types=("t*",), sources=("*9",))}])
def test_a_search_that_stops_at_its_bound_says_so_and_can_be_gone_on_with(
    tmp_path: Path, ascending: bool, given: dict[str, Any]
) -> None:
    async def play(stage: Stage) -> None:
        expected, new = [], []
        for number in range(700):
            stage.clock.advance_ms(1)
            hit = number in (3, 4, 333, 650)
            data = b'{"n":"needle"}' if hit else b"{}"
            new.append(stage.new(type=f"t{number}", source=f"s{number}9" if hit else f"s{number}0", data=data))
            expected += [new[-1].event.id] * hit
        await stage.store(*new)
        if not ascending:
            expected.reverse()
        query = EventQuery(organisation_id=stage.organisation, ascending=ascending, **given)
        page = await stage.search(query, limit=10)
        found, pages = [row.event.id for row in page.rows], 1
        assert (page.partial, page.total_is_exact) == (True, False)
        assert page.total == len(page.rows)
        while page.next_cursor is not None:
            page = await stage.search(query, limit=10, cursor=page.next_cursor)
            found += [row.event.id for row in page.rows]
            pages += 1
        assert found == expected
        assert not page.partial
        assert pages == 7

    _play(tmp_path, play, scan_events_max=100)


def test_a_search_without_time_still_comes_further_with_each_page(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        new = [stage.new(data=b'{"n":"needle"}'), *(stage.new() for _ in range(300))]
        await stage.store(*new)
        query = EventQuery(organisation_id=stage.organisation, text="needle")
        assert await stage.ids_of(query) == [new[0].event.id]
        assert (await stage.search(query)).partial

    _play(tmp_path, play, scan_max_s=0.0, count_max_s=0.0)


def test_a_count_without_time_says_that_it_is_not_exact(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new() for _ in range(300)))
        query = EventQuery(organisation_id=stage.organisation, text="a")
        page = await stage.search(query, limit=10)
        assert (len(page.rows), page.partial, page.total_is_exact) == (10, False, False)
        assert 10 <= page.total < 300

    _play(tmp_path, play, count_max_s=0.0)


@pytest.mark.parametrize("given", [{}, {"text": "a"}, {"type": "happened", "source": "tests"}])
def test_a_thorough_count_goes_past_the_bounds_of_a_list_as_long_as_its_time_lasts(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new(data=b'{"a":1}', source="tests") for _ in range(700)))
        query = EventQuery(organisation_id=stage.organisation, thorough=True, **given)
        for limit in (10, 1000):
            page = await stage.search(query, limit=limit)
            assert (page.total, page.total_is_exact) == (700, True)

    _play(tmp_path, play, scan_events_max=100, count_max_s=0.0)


@pytest.mark.parametrize("given", [{}, {"text": "a"}])
def test_a_thorough_count_whose_time_is_up_says_so(tmp_path: Path, given: dict[str, Any]) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new(data=b'{"a":1}') for _ in range(700)))
        page = await stage.search(EventQuery(organisation_id=stage.organisation, thorough=True, **given), limit=1)
        assert 1 <= page.total < 700
        assert not page.total_is_exact

    _play(tmp_path, play, thorough_count_max_s=0.0)


def test_deliveries_that_cannot_be_counted_thoroughly_in_time_are_counted_as_in_a_list(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.store(*(stage.new(stage.destination()) for _ in range(30)))
        page = await stage.search(DeliveryQuery(organisation_id=stage.organisation, thorough=True), limit=1)
        assert (page.total, page.total_is_exact) == (30, True)

    _play(tmp_path, play, thorough_count_max_s=0.0)


_LONG = "with recursive n (x) as (select 1 union all select x + 1 from n limit 30000000) select count(*) from n"


def test_what_runs_is_stopped_at_its_deadline_and_the_connection_goes_on() -> None:
    connection = apsw.Connection(":memory:")
    outer: list[int] = []

    def watch() -> bool:
        outer.append(1)
        return False

    connection.set_progress_handler(watch, 100_000)
    with pytest.raises(Halted), until(connection, time.monotonic() + 0.02):
        connection.execute(_LONG).fetchall()
    # What else watches the connection goes on to.
    outer.clear()
    assert connection.execute(_LONG.replace("30000000", "100000")).get == 100_000
    assert outer
    connection.close()


def test_what_the_engines_own_bound_stops_is_not_mistaken_for_a_deadline() -> None:
    connection = apsw.Connection(":memory:")
    connection.set_progress_handler(lambda: True, 1_000)
    with pytest.raises(apsw.InterruptError), until(connection, time.monotonic() + 3600):
        connection.execute(_LONG).fetchall()
    connection.close()
