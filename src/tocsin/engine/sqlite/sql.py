"""This engine's statements, and multi-row execution of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import apsw

from tocsin.engine.statements import Statements

SQL = Statements("sqlite.sql")

_CHUNKS = (128, 64, 32)
"""Rows in one statement; what is left below the last goes into one of its own size. Few statements, since every step
of SQLite gives up and retakes Python's lock; few sizes, so that each stays prepared."""


def fetch_by_rows(
    connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]], *more: Any
) -> Iterator[tuple[Any, ...]]:
    """Run a query of ``{rows:N}`` for all rows; ``more`` are the bindings behind them."""
    for part in _parts(rows):
        yield from connection.execute(SQL.many(name, len(part)), (*chain.from_iterable(part), *more))


def write_rows(connection: apsw.Connection, name: str, rows: Sequence[tuple[Any, ...]], *more: Any) -> None:
    """Run an insert or update of ``{rows:N}`` for all rows; ``more`` are the bindings behind them."""
    for part in _parts(rows):
        connection.execute(SQL.many(name, len(part)), (*chain.from_iterable(part), *more))


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
    while left := len(items) - start:
        size = next((each for each in _CHUNKS if each <= left), left)
        yield items[start : start + size]
        start += size
