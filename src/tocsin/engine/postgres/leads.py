"""What a search of events starts from: an index that has every match, in the order of the events' ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from itertools import product
from typing import Any

import msgspec

from tocsin.core.delivery import EventStatus
from tocsin.core.event import Dialect
from tocsin.engine.postgres.listings import SPELLING
from tocsin.engine.postgres.reading import Reader
from tocsin.engine.postgres.windows import windows
from tocsin.engine.wanted import Aspect, Condition, Span, Wanted

_BRANCHES_MAX = 16
"""Stretches of an index that are merged; each is planned for every partition."""

_SIZED_TO = 1_000
"""Entries that are counted to tell which index has the fewest."""

_ASPECTS = (Aspect.SUBJECT, Aspect.SOURCE, Aspect.TYPE, Aspect.SEVERITY)
_OF_THE_ID_ALONE = frozenset({Aspect.STATUS, Aspect.PHASE, Aspect.DESTINATION, Aspect.UNREPLAYED})
_OF_A_STATUS = frozenset({Aspect.ORGANISATION, Aspect.PHASE})
_LEADS_OF_STATUS = {
    EventStatus.PROCESSING: ("delivery d", " and d.state = 1"),
    EventStatus.RETRYING: ("delivery d", " and d.state in (0, 2) and d.attempts > 0"),
    EventStatus.QUEUED: ("delivery d", " and d.state in (0, 2) and d.attempts = 0"),
    EventStatus.EXPIRED: ("delivery_history d", " and d.state in (4, 5)"),
    EventStatus.REPLAYED: ("replayed d", ""),
}


class Branch(msgspec.Struct, frozen=True):
    """A stretch of an index: ``select ... from <tables> where <condition> and <id> within a span and a part``."""

    tables: str
    condition: str
    bindings: tuple[Any, ...]


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """An index to start from, as one or more stretches that are merged.

    Attributes:
        id: the column that holds the event's id.
        repeats: an event may be there more than once.
        answers: conditions that hold for every entry, and need not be looked at again.
    """

    id: str
    branches: tuple[Branch, ...]
    answers: frozenset[Aspect]
    repeats: bool = False

    def within(self, span: Span, *, ascending: bool, limit: int | None) -> tuple[str, tuple[Any, ...]]:
        """Return the statement for the first entries within a span, in order, with its bindings."""
        which = "distinct " if self.repeats else ""
        order = f"order by 1 {'asc' if ascending else 'desc'} limit ?"
        stretches = [
            f"select {which}{self.id} as id from {each.tables} "
            f"where {each.condition}{SPELLING.of_part} and {self.id} >= ? and {self.id} < ? {order}"
            for each in self.branches
        ]
        bindings = tuple(value for each in self.branches for value in (*each.bindings, span.low, span.high, limit))
        if len(stretches) == 1:
            return stretches[0], bindings
        # Each is cut off by itself, in the order of its index; only what is left has to be sorted.
        text = " union all ".join(f"({each})" for each in stretches)
        return f"select {which}id from ({text}) as stretches {order}", (*bindings, limit)


class Meeting(msgspec.Struct, frozen=True):
    """How the entries ``l`` of a lead become events ``e``.

    Attributes:
        tables: with ``{lead}`` where the lead's statement goes.
        conditions: what is open.
    """

    tables: str
    conditions: tuple[Condition, ...]


ROWS_OF_LEAD = "from ({lead}) l " + SPELLING.event.format(id="l.id")
"""Each entry's row, in the order of the entries."""


def meet(lead: Lead, wanted: Wanted) -> Meeting:
    """Return the cheapest way to the events of a lead's entries, with the conditions that the lead leaves open."""
    is_open = {aspect: each for aspect, each in wanted.conditions.items() if aspect not in lead.answers}
    conditions = tuple(is_open.values())
    if not wanted.patterns and is_open.keys() <= _OF_THE_ID_ALONE:
        return Meeting("from ({lead}) e", conditions)
    return Meeting(ROWS_OF_LEAD, conditions)


async def choose(reader: Reader, wanted: Wanted, span: Span, cuts: Sequence[bytes]) -> Lead:
    """Return a lead with few entries, or, where all have many, the one whose entries lie widest apart."""
    leads = [each async for each in _leads(reader, wanted)]
    if len(leads) == 1:
        return leads[0]
    ascending = wanted.query.ascending
    sized: list[tuple[int, Lead]] = []
    for lead in leads:
        left, last = _SIZED_TO, None
        for window in windows(span, cuts, ascending=ascending):
            count, last = await edge(reader, lead, window, ascending=ascending, limit=left)
            left -= count
            if not left:
                break
        if left or last is None:
            return lead
        # How far so many entries reach: the further, the fewer there are in all.
        reach = int.from_bytes(last, "big")
        sized.append((-reach if ascending else reach, lead))
    return min(sized, key=lambda each: each[0])[1]


async def edge(reader: Reader, lead: Lead, span: Span, *, ascending: bool, limit: int) -> tuple[int, bytes | None]:
    """Return how many entries there are within a span, up to ``limit``, and the id of the last of them."""
    text, bindings = lead.within(span, ascending=ascending, limit=limit)
    back = "desc" if ascending else "asc"
    ((count, last),) = await reader.rows_of(
        f"with l as materialized ({text}) "
        f"select (select count(*) from l), (select id from l order by id {back} limit 1)",
        bindings,
    )
    return count, last


async def _leads(reader: Reader, wanted: Wanted) -> AsyncIterator[Lead]:
    """Yield what the search can start from; the last one is always there."""
    organisation_id = wanted.query.organisation_id
    for aspect in _ASPECTS:
        names = wanted.names.get(aspect)
        if names is None:
            continue
        condition = f"i.organisation_id = ? and i.{aspect} = ?"
        if aspect is Aspect.SUBJECT:
            answers: tuple[Aspect, ...] = (aspect,)
            stretches: list[tuple[Any, ...]] = [(organisation_id, each) for each in names]
        else:
            condition += " and i.environment = ?"
            answers = (aspect, Aspect.ENVIRONMENT)
            stretches = [(organisation_id, *each) for each in product(names, wanted.environments)]
        if len(stretches) <= _BRANCHES_MAX:
            yield _of_events(condition, stretches, *answers)
    async for lead in _of_status(reader, wanted):
        yield lead
    async for lead in _of_destination(reader, wanted):
        yield lead
    dialects = wanted.names.get(Aspect.DIALECT, tuple(str(each) for each in Dialect))
    yield _of_events(
        "i.organisation_id = ? and i.environment = ? and i.dialect = ?",
        [(organisation_id, *each) for each in product(wanted.environments, dialects)],
        Aspect.ENVIRONMENT,
        Aspect.DIALECT,
    )


def _of_events(condition: str, stretches: list[tuple[Any, ...]], *answers: Aspect) -> Lead:
    return Lead(
        id="i.id",
        branches=tuple(Branch("event i", condition, each) for each in stretches),
        answers=frozenset({Aspect.ORGANISATION, *answers}),
    )


def _of_deliveries(*branches: Branch, answers: frozenset[Aspect]) -> Lead:
    return Lead(id="d.event_id", branches=branches, answers=answers, repeats=True)


async def _of_status(reader: Reader, wanted: Wanted) -> AsyncIterator[Lead]:
    """Yield where events of the status can be found, others among them, unless there may be too many."""
    status = wanted.query.status
    ours = (wanted.query.organisation_id,)
    if status is EventStatus.RECEIVED:
        yield _of_events(
            "i.organisation_id = ? and i.environment = ? and i.unrouted = 1",
            [(*ours, each) for each in wanted.environments],
            Aspect.ENVIRONMENT,
        )
    elif status is EventStatus.DELIVERED:
        # These lie in the order of the deliveries, not in that of the events: to be sorted, they must be few.
        delivered = Branch("delivery_history d", "d.organisation_id = ? and d.state = 3", ours)
        if await _is_small(reader, delivered):
            yield _of_deliveries(delivered, answers=_OF_A_STATUS)
    elif status is not None:
        table, condition = _LEADS_OF_STATUS[status]
        yield _of_deliveries(Branch(table, f"d.organisation_id = ?{condition}", ours), answers=_OF_A_STATUS)


async def _of_destination(reader: Reader, wanted: Wanted) -> AsyncIterator[Lead]:
    """Yield where the events with a delivery to the destination are, unless too many still wait for it."""
    destination_id = wanted.query.destination_id
    if destination_id is None:
        return
    whose = (destination_id,)
    sent = Branch("delivery_history d", "d.destination_id = ?", whose)
    # The live table is not in the order of events; what waits for one destination can be sorted while it is little.
    due = Branch("delivery d", "d.destination_id = ? and d.state in (0, 1)", whose)
    blocked = Branch("delivery d", "d.destination_id = ? and d.lane is not null and d.state = 2", whose)
    if await _is_small(reader, due) and await _is_small(reader, blocked):
        # Whose the events are is looked at again: a destination's id alone does not say it.
        yield _of_deliveries(sent, due, blocked, answers=frozenset())


async def _is_small(reader: Reader, branch: Branch) -> bool:
    entries = f"select 1 from {branch.tables} where {branch.condition}{SPELLING.of_part} limit ?"
    text = f"select count(*) from ({entries}) as entries"
    ((count,),) = await reader.rows_of(text, (*branch.bindings, _SIZED_TO))
    return bool(count < _SIZED_TO)
