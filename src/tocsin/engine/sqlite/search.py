"""Running a list: one bounded statement for a page, by keyset or offset, and one that counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import apsw

from tocsin.engine.rows import AuditQuery, EventQuery, JobQuery, Page, Query, StandingQuery
from tocsin.engine.sqlite import audit, jobs
from tocsin.engine.sqlite.event_search import ScanBounds, search_events
from tocsin.engine.sqlite.listings import LISTINGS, Listing
from tocsin.engine.sqlite.standing import Found, standings
from tocsin.engine.sqlite.unstarted import TOTAL_MAX

T = TypeVar("T")

_LISTINGS: dict[type[Any], Callable[[Any], Listing[Any]]] = {
    **LISTINGS,
    JobQuery: jobs.listing,
    AuditQuery: audit.listing,
}


_WIDE = ScanBounds()


def search(
    connection: apsw.Connection,
    query: Query[T],
    *,
    limit: int,
    cursor: bytes | None,
    offset: int,
    now_ms: int,
    bounds: ScanBounds = _WIDE,
) -> Found[T]:
    """Return one page of what the query matches.

    Args:
        bounds: of searches through events.
    """
    if isinstance(query, EventQuery):
        page = search_events(connection, query, limit=limit, cursor=cursor, offset=offset, bounds=bounds)
        return cast("Found[T]", Found(page))
    if isinstance(query, StandingQuery):
        found = standings(connection, query, limit=limit, cursor=cursor, offset=offset, now_ms=now_ms)
        return cast("Found[T]", found)
    listing = _LISTINGS[type(query)](query)
    total = _total(connection, listing) if query.counted else 0
    return Found(cast("Page[T]", _page(connection, listing, total, limit=limit, cursor=cursor, offset=offset)))


def _page(
    connection: apsw.Connection, listing: Listing[T], total: int, *, limit: int, cursor: bytes | None, offset: int
) -> Page[T]:
    direction = "asc" if listing.ascending else "desc"
    order = ", ".join(f"{key} {direction}" for key in listing.keys)
    parts: list[str] = []
    bindings: list[Any] = []
    for arm in listing.arms:
        conditions, bound = arm.where.text(), list(arm.where.bindings)
        if cursor is not None:
            marks = ", ".join("?" * len(listing.keys))
            conditions += f" and ({', '.join(listing.keys)}) {'>' if listing.ascending else '<'} ({marks})"
            bound.extend(listing.keys_of(cursor))
        parts.append(
            f"select {arm.columns} from {arm.tables} {arm.joined} where {conditions} order by {order} limit ?"
        )
        bindings.extend((*bound, offset + limit + 1))
    if len(parts) == 1:
        text = f"{parts[0]} offset ?"
        bindings[-1:] = [limit + 1, offset]
    else:
        # Each arm is cut off by itself, in the order of its index; only what is left has to be sorted.
        both = " union all ".join(f"select * from ({part})" for part in parts)
        text = f"select * from ({both}) order by 1 {direction} limit ? offset ?"
        bindings.extend((limit + 1, offset))
    rows = connection.execute(text, bindings).fetchall()
    shown = rows[:limit]
    return Page(
        rows=[listing.row(row) for row in shown],
        next_cursor=listing.cursor_of(shown[-1]) if len(rows) > limit and shown else None,
        total=min(total, TOTAL_MAX),
        total_is_exact=total <= TOTAL_MAX,
    )


def _total(connection: apsw.Connection, listing: Listing[T]) -> int:
    """Count what matches, but no further than it takes to know that there is more than ``TOTAL_MAX``."""
    parts = " union all ".join(f"select 1 from {arm.tables} where {arm.where.text()}" for arm in listing.arms)
    bindings = [value for arm in listing.arms for value in arm.where.bindings]
    return int(connection.execute(f"select count(*) from ({parts} limit {TOTAL_MAX + 1})", bindings).get)
