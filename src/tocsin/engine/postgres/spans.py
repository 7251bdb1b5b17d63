"""Spans of time, each with a partition of every partitioned table: made as they are needed, dropped as a whole."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.core.identifiers import created_ms, first_id_at
from tocsin.engine.postgres.sql import Connection, execute, fetch, fetch_each_part, first, lock_gate

TABLES = ("event", "delivery_history", "attempt")
_GATE = "partitions"
_LOCK_WAIT_MS = 200
"""How long a span's dropping waits for readers; whoever comes meanwhile waits behind it."""


class Span(msgspec.Struct, frozen=True, order=True):
    """From ``first_ms`` up to, not including, ``end_ms``."""

    first_ms: int
    end_ms: int

    @property
    def ids(self) -> tuple[bytes, bytes]:
        """The first id in it, and the first behind it."""
        return first_id_at(self.first_ms), first_id_at(self.end_ms)


def width_ms(retention_ms: int | None) -> int:
    """Return how wide spans are: the longer events are kept, the wider, since a query may look into each of them."""
    if retention_ms is None:
        return 28 * DAY_MS
    return DAY_MS if retention_ms <= 60 * DAY_MS else 7 * DAY_MS


class Spans:
    """Which spans there are, as far as this process knows.

    Args:
        width_ms: of new ones; those that are there stay as they are.
    """

    def __init__(self, width_ms: int) -> None:
        self.width_ms = width_ms
        self._known: list[Span] = []

    def lacking(self, ids: Iterable[bytes]) -> set[int]:
        """Return the times of those ids for which no span is known."""
        return {at_ms for at_ms in set(map(created_ms, ids)) if not self._covers(at_ms)}

    def ahead(self, now_ms: int, ahead_ms: int) -> set[int]:
        """Return times from now until then, one of each span that should be there."""
        return {now_ms, *range(now_ms, now_ms + ahead_ms, self.width_ms), now_ms + ahead_ms}

    def lacking_times(self, times_ms: Iterable[int]) -> set[int]:
        """Return those of the times for which no span is known."""
        return {at_ms for at_ms in times_ms if not self._covers(at_ms)}

    def forget(self) -> None:
        """Know of none: another process dropped one."""
        self._known = []

    def _covers(self, at_ms: int) -> bool:
        at = bisect_right(self._known, Span(at_ms, 1 << 63)) - 1
        return at >= 0 and self._known[at].first_ms <= at_ms < self._known[at].end_ms

    def learn(self, spans: Iterable[Span]) -> None:
        """Know of these and no others."""
        self._known = sorted(spans)

    async def cover(self, connection: Connection, times_ms: Iterable[int]) -> list[Span]:
        """Make the spans that these times lack; return all that there are once this is committed.

        A table is made on its own and attached then, which holds up neither who reads nor who writes.
        """
        await lock_gate(connection, _GATE)
        found = await _all(connection, is_dropped=False)
        for at_ms in sorted(times_ms):
            if any(span.first_ms <= at_ms < span.end_ms for span in found):
                continue
            span = self.around(at_ms, found)
            for table in TABLES:
                await connection.execute(_making(table, span))
            await execute(connection, "insert_span", span.first_ms, span.end_ms)
            found = sorted([*found, span])
        return found

    def around(self, at_ms: int, found: list[Span]) -> Span:
        """Return the span for a time, cut where others are that were made with another width."""
        first_ms = at_ms - at_ms % self.width_ms
        before = [span.end_ms for span in found if span.end_ms <= at_ms]
        behind = [span.first_ms for span in found if span.first_ms > at_ms]
        return Span(max([first_ms, *before]), min([first_ms + self.width_ms, *behind]))


def _name(table: str, span: Span) -> str:
    return f"{table}_{span.first_ms}"


def _making(table: str, span: Span) -> str:
    name = _name(table, span)
    first_id, end_id = (each.hex() for each in span.ids)
    return (
        f"create table {name} (like {table} including all); "
        f"alter table {table} attach partition {name} for values from ('\\x{first_id}') to ('\\x{end_id}')"
    )


async def drop_one(connection: Connection, before_ms: int) -> bool:
    """Drop the oldest span that is past its time and of which nothing is under way; return whether there was one.

    Args:
        before_ms: a span is past its time if it ends by then.
    """
    await lock_gate(connection, _GATE)
    for span in await _all(connection, is_dropped=False):
        if span.end_ms > before_ms:
            return False
        if await _is_anything_kept(connection, span):
            continue
        names = ", ".join(_name(table, span) for table in TABLES)
        await connection.execute(
            f"set local lock_timeout = {_LOCK_WAIT_MS}; lock table {names} in access exclusive mode"
        )
        # Again, now that nobody can add a delivery to one of its events any more.
        if not await _is_anything_kept(connection, span):
            await connection.execute(f"drop table {names}")
            await execute(connection, "drop_span", span.first_ms)
            return True
    return False


async def _all(connection: Connection, *, is_dropped: bool) -> list[Span]:
    return [Span(*row) for row in await fetch(connection, "spans", is_dropped)]


async def _is_anything_kept(connection: Connection, span: Span) -> bool:
    """Return whether something is under way of an event, or of a delivery, of this span."""
    item = await first(connection, "is_item_kept", *span.ids)
    if item is None or item[0]:
        return True
    return any(row[0] for row in await fetch_each_part(connection, "is_delivery_kept", *span.ids))


async def sweep_dropped(connection: Connection, rows_max: int) -> int:
    """Drop a portion of what hung on the events of dropped spans; return the most that was dropped of one kind."""
    for span in await _all(connection, is_dropped=True):
        swept = [
            len(await fetch_each_part(connection, name, *span.ids, rows_max))
            for name in ("transactions_of_span", "replayed_of_span")
        ]
        if max(swept) >= rows_max:
            return rows_max
        await execute(connection, "forget_span", span.first_ms)
    return 0
