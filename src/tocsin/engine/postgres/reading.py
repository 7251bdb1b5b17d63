"""Reading rows by statements that have a ``?`` for each binding, as lists and searches build them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from tocsin.engine.postgres.sql import Connection, Row
from tocsin.engine.postgres.texts import held_value, told_row


async def rows_of(connection: Connection, text: str, bindings: Sequence[Any]) -> list[Row]:
    """Return the rows of a statement with a ``?`` for each binding; texts go in and come out as clients have them."""
    written = _numbered(text, tuple(map(_type_of, bindings)))
    return [told_row(row) for row in await connection.fetch(written, *map(held_value, bindings))]


@lru_cache(maxsize=1024)
def _numbered(text: str, types: tuple[str, ...]) -> str:
    """Return the statement as PostgreSQL has it, each binding with its type: what a client gives fits into any."""
    parts = text.split("?")
    assert len(parts) == len(types) + 1
    marks = (f"${number}{each}" for number, each in enumerate(types, 1))
    return parts[0] + "".join(f"{mark}{part}" for mark, part in zip(marks, parts[1:], strict=True))


def _type_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{_type_of(value[0])}[]"
    if isinstance(value, str):
        return "::text"
    if isinstance(value, bytes):
        return "::bytea"
    return "::bigint" if isinstance(value, int) else ""
