"""Lists: what each takes from which tables, in which order, and the statements for a page and for a count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from tocsin.core.delivery import STATUS_OF_PHASE, DeliveryPhase, EventStatus
from tocsin.core.identifiers import first_id_at
from tocsin.engine.codec import EVENT_COLUMNS, event_of
from tocsin.engine.rows import EventRow, Query

T = TypeVar("T")

TOTAL_MAX = 10_000
"""Up to how many matches are counted."""

EVENT = ", ".join(f"e.{column}" for column in EVENT_COLUMNS)
_EVENT_WIDTH = len(EVENT_COLUMNS)

PHASE_CODES = {
    DeliveryPhase.SENDING: "state = 1",
    DeliveryPhase.RETRYING: "(state in (0, 2) and attempts > 0)",
    DeliveryPhase.NEW: "(state in (0, 2) and attempts = 0)",
    DeliveryPhase.DELIVERED: "state = 3",
    DeliveryPhase.EXPIRED: "state = 4",
    DeliveryPhase.CANCELLED: "state = 5",
}
"""How a row of ``delivery`` or ``delivery_history`` is seen to be in a phase."""

STATUSES = list(EventStatus)
"""Where a status stands here is how it is counted with in SQL."""

_RANK = (
    "case "
    + " ".join(
        f"when {PHASE_CODES[phase]} then {STATUSES.index(status)}" for phase, status in STATUS_OF_PHASE.items()
    )
    + " end"
)


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """Where one engine's SQL differs from another's.

    Attributes:
        indexed: of a table, with its alias, and the index that it is to be read by.
        event: what joins ``event e`` to the id ``{id}``, one at a time.
        replayed: the rows of ``replayed`` for the event ``{id}``.
        deliveries: the rows of ``{table}``, live or final, for ``event e`` that also fulfil ``{only}``.
        of_part: a condition more on what is found by its event, where a statement may not touch the whole store.
        arm: one statement as a part of a union.
        no_bytes: an empty text of bytes.
    """

    indexed: Callable[[str, str], str]
    event: str
    replayed: str
    deliveries: str
    arm: str
    no_bytes: str
    of_part: str = ""

    @property
    def event_without_data(self) -> str:
        """The columns of ``event e``, the data empty."""
        return EVENT.replace("e.data", self.no_bytes)

    @property
    def status(self) -> str:
        """The status of an event as an index into ``EventStatus``: ``core.delivery.event_status`` in SQL."""
        its_own = f"event_id = e.id{self.of_part}"
        return (
            f"case when exists (select 1 from {self.replayed.format(id='e.id')}) "
            f"then {STATUSES.index(EventStatus.REPLAYED)} "
            f"else coalesce((select min(rank) from (select {_RANK} as rank from delivery where {its_own} "
            f"union all select {_RANK} from delivery_history where {its_own}) as standing), "
            f"{STATUSES.index(EventStatus.RECEIVED)}) end"
        )

    @property
    def event_with_status(self) -> str:
        """The statement for one event and its status, for ``event_row_of``."""
        return f"select {EVENT}, {self.status} from event e where e.organisation_id = ? and e.id = ?"


def event_row_of(row: Sequence[Any]) -> EventRow:
    """Return the event and the status of a row of ``EVENT_COLUMNS`` and the status."""
    return EventRow(event_of(row), STATUSES[row[_EVENT_WIDTH]])


class Where:
    """Conditions of one statement, collected with their bindings."""

    def __init__(self) -> None:
        self.conditions: list[str] = []
        self.bindings: list[Any] = []

    def add(self, condition: str, *bindings: Any) -> None:
        self.conditions.append(condition)
        self.bindings.extend(bindings)

    def equal(self, column: str, value: Any) -> None:
        if value is not None:
            self.add(f"{column} = ?", value)

    def window(self, column: str, query: Query[Any]) -> None:
        """Bound an id by the query's times, both inclusive."""
        if query.since_ms is not None:
            self.add(f"{column} >= ?", first_id_at(query.since_ms))
        if query.until_ms is not None:
            self.add(f"{column} < ?", first_id_at(query.until_ms + 1))

    def and_also(self, condition: str) -> Where:
        """Return these conditions and one more, which has no bindings."""
        more = Where()
        more.conditions = [*self.conditions, condition]
        more.bindings = self.bindings
        return more

    def text(self) -> str:
        return " and ".join(self.conditions)


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a list's rows: ``select <columns> from <tables> where ...``."""

    columns: str
    tables: str
    where: Where


def _id_of(row: Sequence[Any]) -> bytes:
    return bytes(row[0])


def _no_bytes(_row: Sequence[Any]) -> int:
    return 0


def _as_id(cursor: bytes) -> tuple[Any, ...]:
    return (cursor,)


class Listing(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A list, and how its pages follow one another.

    Attributes:
        arms: where its rows come from; more than one have the one key as their first column.
        keys: the columns that order it and tell its rows apart.
        cursor_of: a row's keys as bytes.
        keys_of: the keys of a cursor; any bytes give some keys, since clients may send what they like.
        with_data: the rows show an event, whose data is read once it is known which are on the page.
        size_bytes: how much of the bound on a page's bytes a row takes up.
    """

    arms: tuple[Arm, ...]
    keys: tuple[str, ...]
    row: Callable[[Sequence[Any]], T]
    cursor_of: Callable[[Sequence[Any]], bytes] = _id_of
    keys_of: Callable[[bytes], tuple[Any, ...]] = _as_id
    ascending: bool = False
    with_data: bool = False
    size_bytes: Callable[[Sequence[Any]], int] = _no_bytes


def records(
    tables: str, query: Query[T], row: Callable[[Sequence[Any]], T], *, columns: str = "id, body", **given: Any
) -> Listing[T]:
    """Return the list of an organisation's records of one table, newest first.

    Args:
        given: by the column's name, the value that it must have; None is any.
    """
    where = Where()
    where.add("organisation_id = ?", query.organisation_id)
    where.window("id", query)
    for column, value in given.items():
        where.equal(column, value)
    return Listing(arms=(Arm(columns=columns, tables=tables, where=where),), keys=("id",), row=row)


def page_statement(
    listing: Listing[T], spelling: Spelling, *, limit: int, behind: tuple[Any, ...] | None, offset: int
) -> tuple[str, Sequence[Any]]:
    """Return the statement for a page and one more row, with its bindings.

    Args:
        behind: the keys of the row that the page comes after.
    """
    direction = "asc" if listing.ascending else "desc"
    order = ", ".join(f"{key} {direction}" for key in listing.keys)
    parts: list[str] = []
    bindings: list[Any] = []
    for arm in listing.arms:
        conditions, bound = arm.where.text(), list(arm.where.bindings)
        if behind is not None:
            marks = ", ".join("?" * len(listing.keys))
            conditions += f" and ({', '.join(listing.keys)}) {'>' if listing.ascending else '<'} ({marks})"
            bound.extend(behind)
        parts.append(f"select {arm.columns} from {arm.tables} where {conditions} order by {order} limit ?")
        bindings.extend((*bound, offset + limit + 1))
    if len(parts) == 1:
        return f"{parts[0]} offset ?", (*bindings[:-1], limit + 1, offset)
    # Each arm is cut off by itself, in the order of its index; only what is left has to be sorted.
    both = " union all ".join(spelling.arm.format(part) for part in parts)
    return f"select * from ({both}) as arms order by 1 {direction} limit ? offset ?", (*bindings, limit + 1, offset)


def number_statement(listing: Listing[T]) -> tuple[str, list[Any]]:
    """Return the statement that counts up to a limit, which is its last binding, and its other bindings."""
    parts = " union all ".join(f"select 1 from {arm.tables} where {arm.where.text()}" for arm in listing.arms)
    bindings = [value for arm in listing.arms for value in arm.where.bindings]
    return f"select count(*) from ({parts} limit ?) as matches", bindings
