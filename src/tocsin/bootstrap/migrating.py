"""Moving a gateway from the embedded SQLite to a PostgreSQL: copied in batches, gone on with, and compared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import apsw
import msgspec

from tocsin.bootstrap.adapters import SystemClock
from tocsin.bootstrap.configuration import SECRET_KEY_FILE
from tocsin.bootstrap.moved_tables import TABLES, MovedTable, Row, Tally, held_row
from tocsin.bootstrap.storage import own_connection, postgres_settings
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine import migrations
from tocsin.engine.postgres.opening import open_store
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.settings import PostgresSettings
from tocsin.engine.postgres.spans import TABLES as PARTITIONED
from tocsin.engine.postgres.spans import Spans, width_ms
from tocsin.engine.postgres.sql import Connection, lock_gate, write_rows
from tocsin.engine.postgres.texts import told_row
from tocsin.engine.rows import EngineRefused
from tocsin.engine.sqlite.connection import DATABASE_FILE, DirectoryLock, check_version, open_reader
from tocsin.settings import Settings

Advance = Callable[[str, str, int, int], None]
"""Called with what is done (``copy`` or ``compare``), the table, its rows that are done, and all of them."""

_BATCH_ROWS_MAX = 2_000
_BATCH_BYTES_MAX = 4 * 1024 * 1024
_FETCHED_ROWS = 1_000
_LANES_AT_ONCE = 10_000
_GATE = "moving"
_NAME = "tocsin migrate"
"""How the server's lists name us: not as they name gateways."""
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6)
"""Between looks for others: a connection that was closed is listed for a moment."""

_BEGIN = (
    "begin isolation level read committed read write; set local synchronous_commit = on; "
    "set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0; set local jit = off"
)
_BEGIN_READING = (
    "begin isolation level repeatable read read only; set local statement_timeout = 0; "
    "set local idle_in_transaction_session_timeout = 0; set local jit = off"
)
_MAKE_PROGRESS = """
create table if not exists moving (source bytea not null, began_ms bigint not null);
create table if not exists moving_table (
  name text primary key,
  moved_rows bigint not null,
  place bytea not null
)
"""
_KEEP_PROGRESS = """
insert into moving_table (name, moved_rows, place) values ($1, $2, $3)
on conflict (name) do update set moved_rows = excluded.moved_rows, place = excluded.place
"""
_LANES = """
select distinct destination_id, lane from delivery
where lane is not null and (destination_id, lane) > ($1, $2) order by destination_id, lane limit $3
"""
_OTHERS = """
select count(*) from pg_stat_activity
where datname = current_database() and application_name = $1 and pid <> pg_backend_pid()
"""
_LAST_ATTEMPT = """
select setval('attempt_seq', newest.seq) from (select max(seq) as seq from attempt) as newest where newest.seq > 0
"""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A table on both sides.

    Attributes:
        hash: of the source's rows as they are to stand in the target, in no order; 32 hex digits.
    """

    table: str
    rows: int
    rows_there: int
    hash: str
    hash_there: str

    @property
    def is_equal(self) -> bool:
        """Whether the target holds what the source does."""
        return (self.rows, self.hash) == (self.rows_there, self.hash_there)


class Source:
    """A stopped gateway's data directory, which is kept from being used until ``close``.

    Raises:
        EngineRefused: there is no database, a gateway has it, or its schema is not this program's.
    """

    def __init__(self, data: Path) -> None:
        check_version()
        self._file = data / DATABASE_FILE
        if not self._file.is_file():
            raise EngineRefused(f"{self._file} is not there; is that the directory of a gateway?")
        self._lock = DirectoryLock(data)
        self._lock.take()
        try:
            with self._reading():
                self._connection = open_reader(data)
                self._check_schema()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the directory. Idempotent."""
        if hasattr(self, "_connection"):
            self._connection.close()
        self._lock.release()

    def _check_schema(self) -> None:
        has = self._connection.execute("select 1 from sqlite_schema where name = 'schema_migration'").get
        query = "select number, checksum from schema_migration"
        applied: dict[int, str] = dict(self._connection.execute(query)) if has else {}
        try:
            steps = migrations.pending(migrations.load("sqlite"), applied)
        except ValueError as error:
            raise EngineRefused(f"{self._file} cannot be used: {error}") from error
        if steps:
            raise EngineRefused(
                f"{self._file} is of an older Tocsin; start a gateway on it once with this one, and stop it"
            )

    def check_lanes(self) -> None:
        """Return if what waits in an order is in the bucket of its lane, where a PostgreSQL looks for it.

        Raises:
            EngineRefused: some of it was stored when a lane had no bucket.
        """
        query = "select bucket, lane from delivery where lane is not null"
        with self._reading():
            strays = sum(lane_bucket(lane) != bucket for bucket, lane in self._connection.execute(query))
        if strays:
            raise EngineRefused(
                f"{strays} deliveries to ordered destinations were stored by an older Tocsin, which kept their order "
                "elsewhere; start a gateway with this one and let it send them, or cancel them, and try again"
            )

    def mark(self) -> bytes:
        """Return what tells this source, as it is, from others: the first and the last key of every table."""
        ends: list[Any] = []
        with self._reading():
            for table in TABLES:
                for order in ("", " desc"):
                    by = ", ".join(f"{each}{order}" for each in table.key)
                    query = f"select {', '.join(table.key)} from {table.name} order by {by} limit 1"  # noqa: S608
                    ends.append([table.name, self._connection.execute(query).fetchall()])
        return blake2b(msgspec.msgpack.encode(ends), digest_size=32).digest()

    def count(self, table: MovedTable) -> int:
        """Return how many rows there are to move."""
        with self._reading():
            where = f" where {table.only}" if table.only else ""
            found = self._connection.execute(f"select count(*) from {table.name}{where}").get  # noqa: S608
            assert isinstance(found, int)
            return found

    def rows(self, table: MovedTable, behind: list[Any] | None) -> Iterator[tuple[list[Any], Row]]:
        """Yield keys and rows in the order of the keys, read as they are asked for."""
        conditions = [table.only] if table.only else []
        if behind is not None:
            conditions.append(f"({', '.join(table.key)}) > ({', '.join('?' * len(table.key))})")
        where = f" where {' and '.join(conditions)}" if conditions else ""
        query = f"{table.source_sql}{where} order by {', '.join(table.key)}"
        width = len(table.key)
        with self._reading():
            for row in self._connection.execute(query, behind or ()):
                yield list(row[:width]), tuple(row[width:])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except apsw.Error as error:
            raise EngineRefused(f"{self._file} cannot be read: {error}; tocsin doctor tells more") from error


class Target:
    """A connection to the database that is moved to."""

    def __init__(self, connection: Connection, began_ms: int, spans: Spans) -> None:
        self._connection = connection
        self._spans = spans
        self.began_ms = began_ms

    async def place(self, table: MovedTable) -> tuple[int, list[Any] | None]:
        """Return how many rows were moved, and the key of the last."""
        query = "select moved_rows, place from moving_table where name = $1"
        row = await self._connection.fetchrow(query, table.name)
        return (0, None) if row is None else (row[0], msgspec.msgpack.decode(row[1]))

    async def store(self, table: MovedTable, rows: list[Row], moved: int, key: list[Any]) -> None:
        """Store a batch and how far it reaches, both or neither."""
        connection = self._connection
        await connection.execute(_BEGIN)
        lacking = self._spans.lacking(table.partition_ids(rows))
        if lacking:
            self._spans.learn(await self._spans.cover(connection, lacking))
        try:
            await connection.copy_records_to_table(
                table.name, records=map(held_row, rows), columns=list(table.target_columns)
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise EngineRefused(
                f"a row of {table.name} cannot be stored: it holds what no gateway writes; is the source sound"
            ) from error
        await connection.execute(_KEEP_PROGRESS, table.name, moved, msgspec.msgpack.encode(key))
        await connection.execute("commit")

    async def shortened(self, table: MovedTable) -> AsyncIterator[Row]:
        """Yield all rows, shortened, in any order."""
        await self._connection.execute(_BEGIN_READING)
        # Of its own: what is prepared to fetch from it goes with its columns.
        name = f"moved_{table.name}"
        await self._connection.execute(f"declare {name} no scroll cursor for {table.shortened_sql}")
        while rows := await self._connection.fetch(f"fetch {_FETCHED_ROWS} from {name}"):
            for row in rows:
                yield told_row(row)
        await self._connection.execute("commit")

    async def finish(self) -> None:
        """Make what follows from the rows, and have gateways let in."""
        connection = self._connection
        await connection.execute(_BEGIN)
        last = (b"", b"")
        while lanes := [tuple(row) for row in await connection.fetch(_LANES, *last, _LANES_AT_ONCE)]:
            rows = [(lane_bucket(lane), destination_id, lane) for destination_id, lane in lanes]
            await write_rows(connection, "lock_lanes", rows)
            last = lanes[-1]
        await connection.fetch(_LAST_ATTEMPT)
        # Nobody does so by itself for a table with partitions, and queries are planned by it.
        for name in (*(each.name for each in TABLES), "lane"):
            await connection.execute(f"analyze {name}")
        await connection.execute("drop table moving, moving_table")
        await connection.execute("commit")


async def move(settings: Settings, advance: Advance) -> list[Compared]:
    """Move the gateway in ``settings.values.data`` to the PostgreSQL in ``settings.values.database``, and compare.

    The source is only read. What was broken off is gone on with by the next call: each batch is stored together with
    how far it reaches. Until both sides are equal the target takes no gateway.

    Returns:
        each table, in the order in which they are moved.

    Raises:
        EngineRefused: a gateway has the source; something waits there in an order that is kept elsewhere; the target
            is not empty, and not the begun move of this source; or either cannot be used.
    """
    source = Source(settings.values.data)
    try:
        source.check_lanes()
        async with _opened(postgres_settings(settings), source) as target:
            for table in TABLES:
                await _copy(source, target, table, advance)
            compared = [await _compare(source, target, table, advance) for table in TABLES]
            if all(each.is_equal for each in compared):
                await target.finish()
            return compared
    finally:
        source.close()


def has_key_file(settings: Settings) -> bool:
    """Return whether the key that seals secrets lies beside the data; otherwise it is a setting."""
    path: Path = settings.values.data / SECRET_KEY_FILE
    return path.exists()


async def _copy(source: Source, target: Target, table: MovedTable, advance: Advance) -> None:
    count = source.count(table)
    moved, behind = await target.place(table)
    advance("copy", table.name, moved, count)
    batch: list[Row] = []
    size_bytes = 0
    for key, row in source.rows(table, behind):
        batch.append(table.moved(row, target.began_ms))
        size_bytes += sum(len(each) for each in row if isinstance(each, bytes | str))
        behind = key
        if len(batch) == _BATCH_ROWS_MAX or size_bytes >= _BATCH_BYTES_MAX:
            moved += len(batch)
            await target.store(table, batch, moved, key)
            advance("copy", table.name, moved, count)
            batch, size_bytes = [], 0
    if batch:
        assert behind is not None
        moved += len(batch)
        await target.store(table, batch, moved, behind)
        advance("copy", table.name, moved, count)


async def _compare(source: Source, target: Target, table: MovedTable, advance: Advance) -> Compared:
    there, here = Tally(), Tally()
    count = source.count(table)
    advance("compare", table.name, 0, 2 * count)
    async for row in target.shortened(table):
        there.add(row)
        if there.rows % _BATCH_ROWS_MAX == 0:
            advance("compare", table.name, min(there.rows, count), 2 * count)
    for _, row in source.rows(table, None):
        here.add(table.shortened(table.moved(row, target.began_ms)))
        if here.rows % _BATCH_ROWS_MAX == 0:
            advance("compare", table.name, count + here.rows, 2 * count)
    advance("compare", table.name, 2 * count, 2 * count)
    return Compared(table=table.name, rows=here.rows, rows_there=there.rows, hash=here.hash, hash_there=there.hash)


@contextlib.asynccontextmanager
async def _opened(chosen: PostgresSettings, source: Source) -> AsyncIterator[Target]:
    """Open the target for this source.

    Raises:
        EngineRefused: it cannot be used, or broke off meanwhile.
    """
    pool = Pool(
        PoolSettings(
            dsn=chosen.dsn,
            connect_max_s=chosen.connect_max_s,
            statements_kept=chosen.statements_kept,
            pooler_keeps_statements=chosen.pooler_keeps_statements,
            application_name=_NAME,
        )
    )
    server = await open_store(pool, fsync_needed=chosen.fsync_needed, is_moving=True)
    if server.parts.is_cluster:
        raise EngineRefused(
            "the database is distributed; move into one that is not, and run tocsin db distribute then"
        )
    async with own_connection(pool) as connection:
        await _check_alone(connection, chosen.application_name)
        began_ms = await _begun(connection, source.mark())
        yield Target(connection, began_ms, Spans(chosen.partition_ms or width_ms(chosen.retention_ms)))


async def _check_alone(connection: Connection, name: str) -> None:
    """Return if no process of ours uses the database: a dispatcher would send what is only half there."""
    for pause_s in (*_PAUSES_S, None):
        if not await connection.fetchval(_OTHERS, name):
            return
        if pause_s is not None:
            await asyncio.sleep(pause_s)
    raise EngineRefused("a gateway or a dispatcher uses the database; stop every process that does")


async def _begun(connection: Connection, mark: bytes) -> int:
    """Return when moving from this source began, in milliseconds; it begins now where nothing is there."""
    await connection.execute(_BEGIN)
    await lock_gate(connection, _GATE)
    await connection.execute(_MAKE_PROGRESS)
    row = await connection.fetchrow("select source, began_ms from moving")
    if row is None:
        for table in TABLES:
            if await connection.fetchval(f"select exists (select 1 from {table.name})"):  # noqa: S608  names of ours
                raise EngineRefused("the database is not empty; make another one with: createdb --encoding UTF8")
        began_ms = SystemClock().now_ms()
        await connection.execute("insert into moving (source, began_ms) values ($1, $2)", mark, began_ms)
    elif row[0] != mark:
        raise EngineRefused(
            "the database holds the begun move of another gateway, or this one has run since; begin anew with an "
            "empty database: createdb --encoding UTF8"
        )
    else:
        began_ms = row[1]
    await connection.execute("commit")
    return int(began_ms)


assert {each.name for each in TABLES if each.partitioned_by} == set(PARTITIONED)
