"""This engine's statements, and short ways to run them: texts go in and come out as applications have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import asyncpg

from tocsin.core.identifiers import bucket_of
from tocsin.engine.postgres.texts import held_value, told_row
from tocsin.engine.statements import Statements

Row: TypeAlias = tuple[Any, ...]
# In quotes: only the types that checkers read know that it is generic.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SQL = Statements("postgres.sql", "postgres_reading.sql")


async def fetch(connection: Connection, name: str, *bindings: Any) -> list[Row]:
    """Return the rows of a statement."""
    return [told_row(row) for row in await connection.fetch(SQL[name], *map(held_value, bindings))]


async def first(connection: Connection, name: str, *bindings: Any) -> Row | None:
    """Return the first row of a statement, or None."""
    row = await connection.fetchrow(SQL[name], *map(held_value, bindings))
    return None if row is None else told_row(row)


async def execute(connection: Connection, name: str, *bindings: Any) -> None:
    """Run a statement whose rows do not matter."""
    await connection.fetch(SQL[name], *map(held_value, bindings))


async def write_rows(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> None:
    """Run a statement over all rows, whose columns are its first bindings; nothing where there are none."""
    if rows:
        await execute(connection, name, *columns(rows), *more)


async def fetch_by_rows(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> list[Row]:
    """Return what a statement gives for all rows, whose columns are its first bindings."""
    return await fetch(connection, name, *columns(rows), *more) if rows else []


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return rows, of which there is at least one, as columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)]


def by_ids(ids: Iterable[bytes]) -> tuple[list[int], list[bytes]]:
    """Return the buckets of these ids, and the ids: the keys under which their rows stand."""
    found = list(ids)
    return [bucket_of(each) for each in found], found


async def lock_gate(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds this gate, and hold it until this one's end."""
    await execute(connection, "lock_gate", name)
