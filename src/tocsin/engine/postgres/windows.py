"""Stretches of time with few partitions each, so that a statement that stops soon is planned for few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tocsin.core.identifiers import first_id_at
from tocsin.engine.postgres.sql import Connection, fetch
from tocsin.engine.wanted import Span


async def cuts(connection: Connection) -> list[bytes]:
    """Return the ids between which the partitions lie, rising."""
    rows = await fetch(connection, "partition_bounds")
    return sorted({first_id_at(bound) for row in rows for bound in row})


def windows(span: Span, cuts: Sequence[bytes], *, ascending: bool) -> Iterator[Span]:
    """Yield the span in pieces, in the order in which it is gone through: of one partition, two, four and so on."""
    inner = [each for each in cuts if span.low < each < span.high]
    if not ascending:
        inner.reverse()
    width, at = 1, 0
    edge = span.low if ascending else span.high
    while at + width - 1 < len(inner):
        cut = inner[at + width - 1]
        yield Span(edge, cut) if ascending else Span(cut, edge)
        edge, at, width = cut, at + width, 2 * width
    yield Span(edge, span.high) if ascending else Span(span.low, edge)
