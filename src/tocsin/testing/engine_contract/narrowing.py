"""``search`` for events by patterns, by several values at once, by text, and by what is rare."""

from __future__ import annotations

import json
from typing import Any

from tocsin.core.delivery import DeliveryState, EventStatus
from tocsin.core.destination import Filter, matches
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import created_ms
from tocsin.engine.rows import EventQuery
from tocsin.testing.engine_contract.stage import Stage, scenario

_TYPES = ("order.created", "order.paid", "order", "Order.created", "orders", "o[1]", "a*b", "é.x", "z")
_SOURCES = ("shop/1", "shop/2", "shop/12", "Shop/1", "bank")
_PATTERNS = (
    "*",
    "order.*",
    "order*",
    "o?der",
    "[ao]*",
    "[!o]*",
    "o[[]1]",
    "*.*",
    "é.?",
    "order.paid",
    "none",
    "none*",
)


async def _various(stage: Stage, count: int = 150) -> list[Event]:
    """Store events of which every attribute differs, one after another in time."""
    pick = stage.random.choice
    new = []
    for _ in range(count):
        stage.clock.advance_ms(10)
        new.append(
            stage.new(
                dialect=pick(list(Dialect)),
                source=pick(_SOURCES),
                type=pick(_TYPES),
                subject=pick([None, "u1", "u2", "v"]),
                severity=pick([None, *Severity]),
                environment=pick(list(Environment)),
            )
        )
    await stage.store(*new)
    return [each.event for each in new]


def _walked(query: EventQuery, events: list[Event]) -> list[bytes]:
    """Return the ids that the query matches, as a walk through all events finds them."""
    since, until = query.since_ms or 0, query.until_ms
    return [
        each.id
        for each in sorted(events, key=lambda each: each.id, reverse=not query.ascending)
        if matches(
            query.filter,
            dialect=each.dialect,
            source=each.source,
            type=each.type,
            subject=each.subject,
            severity=each.severity,
        )
        and query.environment in (None, each.environment)
        and query.dialect in (None, each.dialect)
        and query.type in (None, each.type)
        and since <= created_ms(each.id)
        and (until is None or created_ms(each.id) <= until)
    ]


class NarrowingContract:
    """Filters as a destination has them."""

    @scenario
    async def test_filters_match_what_a_destinations_filter_does(self, stage: Stage) -> None:
        events = await _various(stage)
        random = stage.random
        for _ in range(120):
            wanted = Filter(
                dialects=tuple(random.sample(list(Dialect), random.choice([0, 0, 1, 3]))),
                sources=tuple(random.sample(("shop/*", "shop/1", "*/?", "b*", "*"), random.choice([0, 0, 1, 2]))),
                types=tuple(random.sample(_PATTERNS, random.choice([0, 1, 1, 2]))),
                subjects=tuple(random.sample(("u?", "v", "*"), random.choice([0, 0, 0, 1]))),
                severities=tuple(random.sample(list(Severity), random.choice([0, 0, 2]))),
            )
            query = EventQuery(
                organisation_id=stage.organisation,
                filter=wanted,
                environment=random.choice([None, *Environment]),
                dialect=random.choice([None, None, None, Dialect.PUSHGO]),
                type=random.choice([None, None, None, "order.paid"]),
                since_ms=random.choice([None, created_ms(random.choice(events).id)]),
                until_ms=random.choice([None, created_ms(random.choice(events).id)]),
                ascending=random.choice([False, True]),
            )
            expected = _walked(query, events)
            assert await stage.ids_of(query, limit=random.choice([1, 4, 100])) == expected
            page = await stage.search(query, limit=2)
            assert (page.total, page.total_is_exact, page.partial) == (len(expected), True, False)

    @scenario
    async def test_a_pattern_among_many_names_finds_the_same(self, stage: Stage) -> None:
        """So many that no engine can go by the names alone."""
        new = [
            stage.new(type=f"kind.{number}", source=f"place/{number % 700}", subject=f"s{number}")
            for number in range(1500)
        ]
        await stage.store(*new)
        events = [each.event for each in new]
        for wanted in (
            Filter(types=("kind.*7",)),
            Filter(types=("kind.1[0-4]?7", "other")),
            Filter(sources=("*/69?",), types=("*3",)),
            Filter(subjects=("s?", "s99*")),
        ):
            query = EventQuery(organisation_id=stage.organisation, filter=wanted)
            expected = _walked(query, events)
            assert expected
            assert await stage.ids_of(query, limit=7) == expected
            assert (await stage.search(query, limit=1)).total == len(expected)

    @scenario
    async def test_filters_never_reach_another_organisation(self, stage: Stage) -> None:
        destination = stage.destination()
        await stage.store(
            stage.new(
                destination, event=stage.event(organisation=stage.foreign, severity=Severity.HIGH, subject="s")
            ),
            stage.new(event=stage.event(organisation=stage.foreign, severity=Severity.HIGH, subject="s")),
        )
        for given in (
            {"filter": Filter(types=("hap*",))},
            {"filter": Filter(sources=("*",), subjects=("s*",))},
            {"filter": Filter(severities=(Severity.HIGH,))},
            {"text": "a"},
            {"destination_id": destination},
            *({"status": status} for status in EventStatus),
        ):
            query = EventQuery(organisation_id=stage.organisation, **given)  # type: ignore[arg-type]
            page = await stage.search(query)
            assert (page.rows, page.total, page.next_cursor) == ([], 0, None)


class TextSearchContract:
    """Text in the payload."""

    @scenario
    async def test_a_text_is_found_whatever_the_case_of_its_ascii_letters(self, stage: Stage) -> None:
        new = [
            stage.new(data=data.encode())
            for data in ('{"ref":"ORD-1"}', '{"ref":"ord-12"}', '{"ref":"Ord 1"}', '{"amount":99.50}', '["É"]')
        ]
        await stage.store(*new)
        ids = [each.event.id for each in new]
        for text, expected in (
            ("ord-1", [1, 0]),
            ("ORD-1", [1, 0]),
            ("ord", [2, 1, 0]),
            ("99.5", [3]),
            ('"REF"', [2, 1, 0]),
            ('"ref":"ord-1"', [0]),
            ("É", [4]),
            ("é", []),
            ("%", []),
            ("_", []),
        ):
            query = EventQuery(organisation_id=stage.organisation, text=text)
            assert await stage.ids_of(query, limit=2) == [ids[each] for each in expected], text

    @scenario
    async def test_a_text_is_found_however_it_was_encoded(self, stage: Stage) -> None:
        name = 'Zürich/"日本" <😀>\t\\'
        written = [json.dumps({"name": name}), json.dumps({"name": name}, ensure_ascii=False)]
        written += [each.replace("/", "\\/") for each in written]
        new = [stage.new(data=each.encode()) for each in written]
        await stage.store(*new, stage.new(data=b'{"name":"Zurich"}'))
        expected = [each.event.id for each in reversed(new)]
        for text in (name, "zürich", 'H/"', "日本", "😀>\t", "\\"):
            query = EventQuery(organisation_id=stage.organisation, text=text)
            assert await stage.ids_of(query, limit=3) == expected, text

    @scenario
    async def test_text_stands_beside_the_other_filters_and_the_window(self, stage: Stage) -> None:
        new = []
        for number in range(600):
            stage.clock.advance_ms(5)
            data = json.dumps({"n": number, "rare": number % 97 == 0}).encode()
            new.append(stage.new(type=f"t{number % 3}", data=data))
        await stage.store(*new)
        events = [each.event for each in new]
        for first, last, kind in ((0, 599, "t0"), (100, 500, "t1"), (194, 194, "t2"), (0, 96, "t1")):
            query = EventQuery(
                organisation_id=stage.organisation,
                text="true",
                filter=Filter(types=(kind,)),
                since_ms=created_ms(events[first].id),
                until_ms=created_ms(events[last].id),
            )
            expected = [each.id for each in events[first : last + 1] if each.type == kind and b"true" in each.data]
            assert await stage.ids_of(query, limit=2) == expected[::-1]
            assert (await stage.search(query, limit=1)).total == len(expected)


class RareStatusContract:
    """What is rare is found among much, and stays found whatever becomes of it."""

    @scenario
    async def test_every_status_is_found_with_every_other_filter(self, stage: Stage) -> None:
        destinations = stage.destinations(2)
        pick = stage.random.choice
        new = []
        for _ in range(150):
            stage.clock.advance_ms(3)
            where = pick([(), (), destinations, destinations[:1], destinations[1:]])
            more: dict[str, Any] = {"type": pick(["t1", "t2"]), "severity": pick([None, Severity.LOW])}
            new.append(stage.new(*where, environment=pick(list(Environment)), **more))
        await stage.store(*new)
        fates = (
            DeliveryState.DELIVERED,
            DeliveryState.DELIVERED,
            DeliveryState.EXPIRED,
            DeliveryState.CANCELLED,
            None,
        )
        for lease in await stage.claim(limit=110):
            fate = pick(fates)
            if fate is not None:
                await stage.finish(lease, fate)
            elif stage.random.random() < 0.7:
                await stage.put_off(lease, stage.clock.now_ms() + 60_000)
        await stage.store(*(stage.new(replay_of=each.event.id) for each in new[::17]))

        everything = await stage.all(EventQuery(organisation_id=stage.organisation))
        assert {row.status for row in everything} == set(EventStatus)
        sent_to = {each.event.id: {to.destination_id for to in each.deliveries} for each in new}
        for status in EventStatus:
            for given in (
                {},
                {"filter": Filter(types=("t1",))},
                {"filter": Filter(severities=(Severity.LOW,))},
                {"environment": Environment.TEST},
                {"destination_id": destinations[0]},
                {"destination_id": destinations[1], "filter": Filter(types=("t*",)), "ascending": True},
                {"unreplayed": True},
            ):
                query = EventQuery(organisation_id=stage.organisation, status=status, **given)
                expected = [
                    row.event.id
                    for row in everything
                    if row.status is status
                    and row.event.id in _walked(query, [row.event])
                    and (query.destination_id is None or query.destination_id in sent_to.get(row.event.id, ()))
                    and not (query.unreplayed and status is EventStatus.REPLAYED)
                ]
                if query.ascending:
                    expected.reverse()
                assert await stage.ids_of(query, limit=3) == expected, (status, given)
                assert (await stage.search(query, limit=1)).total == len(expected)

    @scenario
    async def test_an_event_leaves_a_status_when_its_deliveries_do(self, stage: Stage) -> None:
        destination = stage.destination()
        new = stage.new(destination)
        await stage.store(new)

        async def status() -> list[EventStatus]:
            queries = {
                each: EventQuery(organisation_id=stage.organisation, status=each, type=new.event.type)
                for each in EventStatus
            }
            found = {each: await stage.ids_of(query) for each, query in queries.items()}
            return [each for each, ids in found.items() if new.event.id in ids]

        assert await status() == [EventStatus.QUEUED]
        lease = await stage.claim_one()
        assert await status() == [EventStatus.PROCESSING]
        await stage.put_off(lease, stage.clock.now_ms())
        assert await status() == [EventStatus.RETRYING]
        await stage.finish(await stage.claim_one(), DeliveryState.EXPIRED)
        assert await status() == [EventStatus.EXPIRED]
        await stage.store(stage.new(replay_of=new.event.id, type="copy"))
        assert await status() == [EventStatus.REPLAYED]
