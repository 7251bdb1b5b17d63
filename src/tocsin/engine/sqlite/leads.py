"""What a search of events starts from: an index that has every match, in the order of the events' ids."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import apsw
import msgspec

from tocsin.core.delivery import EventStatus
from tocsin.core.event import Dialect
from tocsin.engine.sqlite.wanted import among
from tocsin.engine.wanted import Aspect, Condition, Span, Wanted

_BRANCHES_MAX = 64
_SIZED_TO = 1_000
"""Entries that are counted to tell which index has the fewest."""

_ASPECTS_OF_INDEX = {
    Aspect.SUBJECT: "event_by_subject",
    Aspect.SOURCE: "event_by_source",
    Aspect.TYPE: "event_by_type",
    Aspect.SEVERITY: "event_by_severity",
}
_PROBES_MAX = 4
"""Names that are looked for in an index, each by itself; reading the row costs as much as about so many."""

_COVERING = {
    Aspect.TYPE: "event_by_type",
    Aspect.SOURCE: "event_by_source",
    Aspect.SEVERITY: "event_by_severity",
}
_OF_THE_ID_ALONE = frozenset({Aspect.STATUS, Aspect.PHASE, Aspect.DESTINATION, Aspect.UNREPLAYED})
_OF_A_STATUS = frozenset({Aspect.ORGANISATION, Aspect.PHASE})
_LEADS_OF_STATUS = {
    EventStatus.PROCESSING: ("delivery d indexed by delivery_leased", " and d.state = 1"),
    EventStatus.RETRYING: (
        "delivery d indexed by delivery_retrying",
        " and d.state in (0, 2) and d.attempts > 0",
    ),
    EventStatus.QUEUED: ("delivery d indexed by delivery_untried", " and d.state in (0, 2) and d.attempts = 0"),
    EventStatus.EXPIRED: ("delivery_history d indexed by delivery_history_given_up", " and d.state in (4, 5)"),
    EventStatus.REPLAYED: ("replayed d indexed by replayed_by_organisation", ""),
}


class Branch(msgspec.Struct, frozen=True):
    """A stretch of an index: ``select ... from <tables> where <condition> and <id> within a span``."""

    tables: str
    condition: str
    bindings: tuple[Any, ...]


class Lead(msgspec.Struct, frozen=True, kw_only=True):
    """An index to start from, as one or more stretches that are merged.

    Attributes:
        id: the column that holds the event's id.
        columns: what is read: the id, of an event's index with its place in the table.
        repeats: an event may be there more than once.
        answers: conditions that hold for every entry, and need not be looked at again.
    """

    id: str
    columns: str
    branches: tuple[Branch, ...]
    answers: frozenset[Aspect]
    repeats: bool = False

    def within(self, span: Span, *, ascending: bool, limit: int) -> tuple[str, tuple[Any, ...]]:
        """Return the statement for the first entries within a span, in order, with its bindings."""
        whole = "distinct " if self.repeats and len(self.branches) == 1 else ""
        parts = [
            f"select {whole}{self.columns} from {each.tables} "
            f"where {each.condition} and {self.id} >= ? and {self.id} < ?"
            for each in self.branches
        ]
        bindings = [value for each in self.branches for value in (*each.bindings, span.low, span.high)]
        text = (" union " if self.repeats else " union all ").join(parts)
        return f"{text} order by 1 {'asc' if ascending else 'desc'} limit ?", (*bindings, limit)

    @property
    def joins_on(self) -> str:
        """How the entries ``l`` and the rows of ``event e`` belong together."""
        return "e.id = l.id" if self.repeats else "e.seq = l.seq"


class Meeting(msgspec.Struct, frozen=True):
    """How the entries of a lead become rows of ``event e``.

    Attributes:
        tables: with ``{lead}`` where the lead's statement goes.
        conditions: what is open, and what leads to one place in the index.
    """

    tables: str
    conditions: tuple[Condition, ...]


def meet(lead: Lead, wanted: Wanted) -> Meeting:
    """Return the cheapest way to the events of a lead's entries, with the conditions that the lead leaves open.

    A row of the table is read only for what no index holds: rows lie far apart, entries of an index close together.
    """
    is_open = {aspect: each for aspect, each in wanted.conditions.items() if aspect not in lead.answers}
    conditions = tuple(is_open.values())
    if not wanted.patterns and is_open.keys() <= _OF_THE_ID_ALONE:
        return Meeting("from ({lead}) e", conditions)
    for aspect, index in _COVERING.items():
        if aspect in is_open and len(wanted.names[aspect]) <= _PROBES_MAX:
            # All columns of the index before the id have to be given, so that one probe finds the one entry.
            given = {Aspect.ORGANISATION: wanted.conditions[Aspect.ORGANISATION]}
            given[Aspect.ENVIRONMENT] = among("e.environment", wanted.environments)
            tables = f"from ({{lead}}) l cross join event e indexed by {index} on e.id = l.id"
            return Meeting(tables, tuple((is_open | given).values()))
    return Meeting(f"from ({{lead}}) l cross join event e on {lead.joins_on}", conditions)


def choose(connection: apsw.Connection, wanted: Wanted, span: Span) -> Lead:
    """Return a lead with few entries, or, where all have many, the one whose entries lie widest apart."""
    leads = list(_leads(connection, wanted))
    if len(leads) == 1:
        return leads[0]
    ascending = wanted.query.ascending
    sized: list[tuple[int, Lead]] = []
    for lead in leads:
        count, last = edge(connection, lead, span, ascending=ascending, limit=_SIZED_TO)
        if last is None or count < _SIZED_TO:
            return lead
        # How far so many entries reach: the further, the fewer there are in all.
        reach = int.from_bytes(last, "big")
        sized.append((-reach if ascending else reach, lead))
    return min(sized, key=lambda each: each[0])[1]


def edge(
    connection: apsw.Connection, lead: Lead, span: Span, *, ascending: bool, limit: int
) -> tuple[int, bytes | None]:
    """Return how many entries there are within a span, up to ``limit``, and the id of the last of them."""
    text, bindings = lead.within(span, ascending=ascending, limit=limit)
    last = "max" if ascending else "min"
    rows: list[Any] = connection.execute(f"select count(*), {last}(id) from ({text})", bindings).fetchall()
    count, reached = rows[0]
    return count, reached


def _leads(connection: apsw.Connection, wanted: Wanted) -> Iterator[Lead]:
    """Yield what the search can start from; the last one is always there."""
    organisation_id = wanted.query.organisation_id
    for aspect, index in _ASPECTS_OF_INDEX.items():
        names = wanted.names.get(aspect)
        if names is None:
            continue
        if aspect is Aspect.SUBJECT:
            condition = f"i.organisation_id = ? and i.{aspect} = ?"
            answers: tuple[Aspect, ...] = (aspect,)
            stretches: list[tuple[Any, ...]] = [(organisation_id, each) for each in names]
        else:
            condition = f"i.organisation_id = ? and i.{aspect} = ? and i.environment = ?"
            answers = (aspect, Aspect.ENVIRONMENT)
            stretches = [(organisation_id, *each) for each in product(names, wanted.environments)]
        if len(stretches) <= _BRANCHES_MAX:
            yield _of_events(index, condition, stretches, *answers)
    yield from _of_status(connection, wanted)
    yield from _of_destination(connection, wanted)
    dialects = wanted.names.get(Aspect.DIALECT, tuple(str(each) for each in Dialect))
    yield _of_events(
        "event_by_organisation",
        "i.organisation_id = ? and i.environment = ? and i.dialect = ?",
        [(organisation_id, *each) for each in product(wanted.environments, dialects)],
        Aspect.ENVIRONMENT,
        Aspect.DIALECT,
    )


def _of_events(index: str, condition: str, stretches: list[tuple[Any, ...]], *answers: Aspect) -> Lead:
    return Lead(
        id="i.id",
        columns="i.id as id, i.seq as seq",
        branches=tuple(Branch(f"event i indexed by {index}", condition, each) for each in stretches),
        answers=frozenset({Aspect.ORGANISATION, *answers}),
    )


def _of_deliveries(*branches: Branch, answers: frozenset[Aspect]) -> Lead:
    return Lead(id="d.event_id", columns="d.event_id as id", branches=branches, answers=answers, repeats=True)


def _of_status(connection: apsw.Connection, wanted: Wanted) -> Iterator[Lead]:
    """Yield where events of the status can be found, others among them, unless there may be too many."""
    status = wanted.query.status
    ours = (wanted.query.organisation_id,)
    if status is EventStatus.RECEIVED:
        yield _of_events(
            "event_unrouted",
            "i.organisation_id = ? and i.environment = ? and i.unrouted = 1",
            [(*ours, each) for each in wanted.environments],
            Aspect.ENVIRONMENT,
        )
    elif status is EventStatus.DELIVERED:
        # These lie in the order of the deliveries, not in that of the events: to be sorted, they must be few.
        tables = "delivery_history d indexed by delivery_history_by_organisation"
        delivered = Branch(tables, "d.organisation_id = ? and d.state = 3", ours)
        if _is_small(connection, delivered):
            yield _of_deliveries(delivered, answers=_OF_A_STATUS)
    elif status is not None:
        index, condition = _LEADS_OF_STATUS[status]
        yield _of_deliveries(Branch(index, f"d.organisation_id = ?{condition}", ours), answers=_OF_A_STATUS)


def _of_destination(connection: apsw.Connection, wanted: Wanted) -> Iterator[Lead]:
    """Yield where the events with a delivery to the destination are, unless too many still wait for it."""
    destination_id = wanted.query.destination_id
    if destination_id is None:
        return
    whose = (destination_id,)
    sent = Branch("delivery_history d indexed by delivery_history_by_sent_event", "d.destination_id = ?", whose)
    # The live table is not in the order of events; what waits for one destination can be sorted while it is little.
    due = Branch("delivery d indexed by delivery_due", "d.destination_id = ? and d.state in (0, 1)", whose)
    in_lanes = "d.destination_id = ? and d.lane is not null and d.state = 2"
    blocked = Branch("delivery d indexed by delivery_by_lane", in_lanes, whose)
    if _is_small(connection, due) and _is_small(connection, blocked):
        # Whose the events are is looked at again: a destination's id alone does not say it.
        yield _of_deliveries(sent, due, blocked, answers=frozenset())


def _is_small(connection: apsw.Connection, branch: Branch) -> bool:
    text = f"select count(*) from (select 1 from {branch.tables} where {branch.condition} limit {_SIZED_TO})"
    return int(connection.execute(text, branch.bindings).get) < _SIZED_TO
