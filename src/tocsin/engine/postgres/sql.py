"""This engine's statements, and short ways to run them: texts go in and come out as applications have them.

A statement over tables that are distributed says ``<table>.bucket = any($part)`` of each of them, each time that it
names it, and is run once for each part that it is about: so a cluster finds it to be one shard's. ``$part`` becomes
the last binding, the part's buckets. On one server, where the condition holds for every row, it is left out, so that
it costs no statement its plan. Where a statement says ``bucket = $1`` of one row, or has no such table, there is no
part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tocsin.core.identifiers import bucket_of
from tocsin.engine.postgres.parts import ONE_PART, Buckets, Parts
from tocsin.engine.postgres.texts import held_value, told_row
from tocsin.engine.statements import Statements

Row: TypeAlias = tuple[Any, ...]

if TYPE_CHECKING:
    # Only the types that checkers read know that it is generic.
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection


class Connection(_Connection):
    """A connection that knows how the buckets are spread.

    Attributes:
        parts: those that statements are run for.
    """

    parts: Parts = ONE_PART


SQL = Statements("postgres.sql", "postgres_reading.sql")

IN_PART = re.compile(r"(?:\w+\.)?bucket = any\(\$part\)")
_BINDING = re.compile(r"\$(\d+)")


async def fetch(connection: Connection, name: str, *bindings: Any) -> list[Row]:
    """Return the rows of a statement that has no part."""
    return await _fetch(connection, SQL[name], bindings)


async def first(connection: Connection, name: str, *bindings: Any) -> Row | None:
    """Return the first row of a statement that has no part, or None."""
    row = await connection.fetchrow(SQL[name], *map(held_value, bindings))
    return None if row is None else told_row(row)


async def execute(connection: Connection, name: str, *bindings: Any) -> None:
    """Run a statement that has no part and whose rows do not matter."""
    await connection.fetch(SQL[name], *map(held_value, bindings))


async def fetch_part(connection: Connection, name: str, buckets: Buckets, *bindings: Any) -> list[Row]:
    """Return the rows of a statement for one part, which is one of the connection's."""
    text, is_named = _text_of(name, is_told=connection.parts is not ONE_PART)
    return await _fetch(connection, text, (*bindings, buckets) if is_named else bindings)


async def fetch_each_part(connection: Connection, name: str, *bindings: Any) -> list[Row]:
    """Return the rows of a statement for every part, those of one after those of the other."""
    found: list[Row] = []
    for buckets in connection.parts.all:
        found += await fetch_part(connection, name, buckets, *bindings)
    return found


async def fetch_by_rows(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> list[Row]:
    """Return what a statement gives for all rows, whose columns, the bucket first, are its first bindings."""
    found: list[Row] = []
    for buckets, some in connection.parts.split(rows):
        found += await fetch_part(connection, name, buckets, *columns(some), *more)
    return found


async def fetch_by_ids(connection: Connection, name: str, ids: Iterable[bytes], *more: Any) -> list[Row]:
    """Return what a statement gives for all ids; their buckets and they are its first bindings."""
    return await fetch_by_rows(connection, name, [(bucket_of(each), each) for each in ids], *more)


async def fetch_of_ids(connection: Connection, name: str, ids: Iterable[bytes], *more: Any) -> list[Row]:
    """Return what a statement gives for all ids, which alone are its first binding."""
    found: list[Row] = []
    for buckets, some in connection.parts.split([(bucket_of(each), each) for each in ids]):
        found += await fetch_part(connection, name, buckets, [each for _, each in some], *more)
    return found


async def write_rows(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> None:
    """Run a statement over all rows, whose columns, the bucket first, are its first bindings."""
    await fetch_by_rows(connection, name, rows, *more)


async def fetch_at_once(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> list[Row]:
    """Return what a statement that has no part gives for all rows, whose columns are its first bindings."""
    return await fetch(connection, name, *columns(rows), *more) if rows else []


async def write_at_once(connection: Connection, name: str, rows: Sequence[Sequence[Any]], *more: Any) -> None:
    """Run a statement that has no part, since it only adds rows or its table is not distributed, over all rows."""
    await fetch_at_once(connection, name, rows, *more)


async def _fetch(connection: Connection, text: str, bindings: Sequence[Any]) -> list[Row]:
    return [told_row(row) for row in await connection.fetch(text, *map(held_value, bindings))]


@cache
def _text_of(name: str, *, is_told: bool) -> tuple[str, bool]:
    """Return the text of a statement, and whether the part's buckets are a binding of it.

    Args:
        is_told: whether the server is to be told the buckets.
    """
    text = SQL[name] if is_told else IN_PART.sub("true", SQL[name])
    last = max((int(each) for each in _BINDING.findall(text)), default=0)
    return text.replace("$part", f"${last + 1}"), "$part" in text


def columns(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return rows, of which there is at least one, as columns, for ``unnest``."""
    return [list(column) for column in zip(*rows, strict=True)]


async def lock_gate(connection: Connection, name: str) -> None:
    """Wait until no other transaction holds this gate, and hold it until this one's end."""
    await execute(connection, "lock_gate", name)
