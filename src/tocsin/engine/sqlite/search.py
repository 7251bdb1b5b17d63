"""Running a list: one bounded statement for a page, by keyset or offset, and one that counts."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import apsw

from tocsin.engine.rows import Page, Query, UnstartedQuery
from tocsin.engine.sqlite.listings import LISTINGS, Listing
from tocsin.engine.sqlite.unstarted import TOTAL_MAX, Found, unstarted

T = TypeVar("T")


def search(
    connection: apsw.Connection, query: Query[T], *, limit: int, cursor: bytes | None, offset: int, now_ms: int
) -> Found[T]:
    """Return one page of what the query matches."""
    if isinstance(query, UnstartedQuery):
        found = unstarted(connection, query, limit=limit, cursor=cursor, offset=offset, now_ms=now_ms)
        return cast("Found[T]", found)
    listing = LISTINGS[type(query)](query)
    return Found(cast("Page[T]", _page(connection, listing, limit=limit, cursor=cursor, offset=offset)))


def _page(
    connection: apsw.Connection, listing: Listing[T], *, limit: int, cursor: bytes | None, offset: int
) -> Page[T]:
    total = _total(connection, listing)
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
        parts.append(f"select {arm.columns} from {arm.tables} where {conditions} order by {order} limit ?")
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
