"""Reading one part's rows by statements that have a ``?`` for each binding, as lists and searches build them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from tocsin.core.identifiers import bucket_of
from tocsin.engine.postgres.parts import ONE_PART, Buckets
from tocsin.engine.postgres.sql import IN_PART, Connection, Row, fetch_part
from tocsin.engine.postgres.texts import held_value, told_row

_PART = "$part"


class Reader(msgspec.Struct, frozen=True):
    """Reads what lies in one part; on one server that is everything.

    Attributes:
        buckets: of the part, which is one of the connection's.
    """

    connection: Connection
    buckets: Buckets

    async def fetch(self, name: str, *bindings: Any) -> list[Row]:
        """Return the part's rows of a statement."""
        return await fetch_part(self.connection, name, self.buckets, *bindings)

    async def rows_of(self, text: str, bindings: Sequence[Any]) -> list[Row]:
        """Return the rows of a statement with a ``?`` for each binding.

        Texts go in and come out as clients have them.
        Where it says ``bucket = any($part)`` it reads this part alone.
        """
        is_one = self.connection.parts is ONE_PART
        written = _numbered(text, tuple(map(_type_of, bindings)), is_one)
        if _PART in text and not is_one:
            bindings = (*bindings, self.buckets)
        return [told_row(row) for row in await self.connection.fetch(written, *map(held_value, bindings))]


def readers_of(connection: Connection) -> list[Reader]:
    """Return what reads every part."""
    return [Reader(connection, buckets) for buckets in connection.parts.all]


def reader_of(connection: Connection, identifier: bytes) -> Reader:
    """Return what reads the part in which this id lies."""
    ((buckets, _),) = connection.parts.split([(bucket_of(identifier),)])
    return Reader(connection, buckets)


async def rows_by_ids(connection: Connection, text: str, ids: Iterable[bytes], *more: Any) -> list[Row]:
    """Return what a statement gives for all ids, an array of which is its first binding."""
    found: list[Row] = []
    for buckets, keys in connection.parts.split([(bucket_of(each), each) for each in ids]):
        found += await Reader(connection, buckets).rows_of(text, ([key[1] for key in keys], *more))
    return found


@lru_cache(maxsize=1024)
def _numbered(text: str, types: tuple[str, ...], is_one: bool) -> str:
    """Return the statement as PostgreSQL has it, each binding with its type: what a client gives fits into any."""
    parts = text.split("?")
    assert len(parts) == len(types) + 1
    marks = (f"${number}{each}" for number, each in enumerate(types, 1))
    written = parts[0] + "".join(f"{mark}{part}" for mark, part in zip(marks, parts[1:], strict=True))
    return IN_PART.sub("true", written) if is_one else written.replace(_PART, f"${len(parts)}::smallint[]")


def _type_of(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{_type_of(value[0])}[]"
    if isinstance(value, str):
        return "::text"
    if isinstance(value, bytes):
        return "::bytea"
    return "::bigint" if isinstance(value, int) else ""
