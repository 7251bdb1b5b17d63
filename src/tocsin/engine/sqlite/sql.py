"""This engine's statements, and multi-row execution of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import apsw

from tocsin.engine.statements import Statements

SQL = Statements("sqlite.sql")

_CHUNKS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Rows in one statement: few sizes, so that each stays prepared; one step of SQLite for many rows, since every step
gives up and retakes Python's lock."""


def insert(connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run an insert of ``{rows:N}`` for all rows."""
    for part in _parts(rows):
        connection.execute(SQL.many(name, len(part)), tuple(chain.from_iterable(part)))


def fetch_by_rows(
    connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]], *more: Any
) -> Iterator[tuple[Any, ...]]:
    """Run a query of ``{rows:N}`` for all rows; ``more`` are the bindings behind them."""
    for part in _parts(rows):
        yield from connection.execute(SQL.many(name, len(part)), (*chain.from_iterable(part), *more))


def fetch_by_marks(
    connection: apsw.Connection, name: str, before: Sequence[Any], values: Sequence[Any]
) -> Iterator[tuple[Any, ...]]:
    """Run a query of ``{marks}`` for all values; ``before`` are the bindings ahead of them."""
    for part in _parts(values):
        yield from connection.execute(SQL.many(name, len(part)), (*before, *part))


def first(connection: apsw.Connection, name: str, *bindings: Any) -> tuple[Any, ...] | None:
    """Return the first row of a query, or None; the statement is run to its end."""
    rows = connection.execute(SQL[name], bindings).fetchall()
    return rows[0] if rows else None


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    start = 0
    for size in _CHUNKS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
