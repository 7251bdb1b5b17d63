"""``tocsin migrate``: a gateway that has lived on SQLite goes on in a PostgreSQL, and nothing shows it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import apsw
import pytest

from engine.postgres_server import (
    PostgresServer,
    open_transaction,
    postgres_factory,
    running_server,
    waits_for_a_lock,
)
from gateway import Process, Receiver
from program import DEADLINE_S, Done, environment, run_program, running_program
from tenants import PASSWORD, Tenant, as_json, incident, signed
from tocsin.bootstrap.migrating import _BATCH_ROWS_MAX
from tocsin.bootstrap.moved_tables import TABLES
from tocsin.cli.exits import FAILED, OK, STORE, USAGE
from tocsin.core.identifiers import first_id_at
from tocsin.core.quiet_hours import lane_bucket
from tocsin.engine.postgres.texts import held
from tocsin.engine.sqlite.connection import DATABASE_FILE
from tocsin.testing.clock import ManualClock

pytestmark = [pytest.mark.acceptance, pytest.mark.one_store("it moves from one engine to the other")]

SETTINGS = {"TOCSIN_POSTGRES_FSYNC_NEEDED": "false"}
SERVICES = {"TOCSIN_APPRISE_SERVICES": '{"ops": "json://127.0.0.1:9"}'}
LISTS = (
    *("account", "categories", "channels", "destinations", "events", "deliveries", "incidents", "transactions"),
    *("jobs", "audit", "usage"),
)
KEYS = 2 * _BATCH_ROWS_MAX + 10
OLD_MS = 1_500_000_000_000
"""Before the partitions that are made by themselves."""
DESTINATION, LANE = b"\x01" * 16, b"\x02" * 16
RUN = (bytes(16), "a\0b", first_id_at(OLD_MS), first_id_at(OLD_MS) + b"\0")


@dataclass(frozen=True, slots=True)
class Life:
    """A gateway that was stopped.

    Attributes:
        key: of its organisation.
        device: with items in its mailbox.
        shown: what its API showed last.
    """

    data: Path
    key: str
    device: str
    shown: dict[str, Any]

    def copy(self, to: Path) -> Path:
        """Copy the data."""
        shutil.copytree(self.data, to)
        return to


def shown_by(tenant: Tenant, device: str) -> dict[str, Any]:
    """Return what the API shows of everything."""
    shown = {name: tenant.get(f"/api/v1/{name}") for name in LISTS}
    for event in shown["events"]["events"]:
        shown[event["id"]] = tenant.get(f"/api/v1/events/{event['id']}")
    for delivery in shown["deliveries"]["deliveries"]:
        shown[delivery["id"]] = tenant.get(f"/api/v1/deliveries/{delivery['id']}")
    shown["mailbox"] = tenant.post("/messages/pull", {"device_key": device})
    for state in ("finished", "processing"):
        query = {"eventName": "user.created", "txKey": "worker", "since": 0, "txState": state}
        rows = tenant.post("/query", query)["rows"]
        assert rows
        # How long it is still kept goes down with the time.
        shown[f"query {state}"] = [{name: value for name, value in row.items() if name != "ttl"} for row in rows]
    return shown


def live(tenant: Tenant, receiver: Receiver) -> str:
    """Let everything happen that leaves something behind; return a device's key."""
    tenant.webhook(f"{receiver.url}/up", name="up", headers={"Authorization": "Bearer abcdefgh"})
    down = tenant.webhook(f"{receiver.url}/status/503", name="down")
    for name, transport, address in (
        ("service", "apprise", {"service": "ops"}),
        ("without a chat", "telegram", {"bot_token": "123:abc"}),
    ):
        quiet = {"name": name, "transport": transport, "address": address, "filter": {"types": ["nothing"]}}
        tenant.post("/api/v1/destinations", quiet)
    device: str = tenant.post("/device/register", {"platform": "android"})["data"]["device_key"]
    channel = tenant.channel()
    subscription = {"device_key": device, "channel_id": channel, "password": PASSWORD}
    tenant.post("/channel/subscribe", subscription)
    tenant.post("/event/create", incident(channel))
    tenant.category()
    tenant.post("/api/v1/event", {"category": "bug", "description": "Checkout fails\u0001\u0002"})
    key = tenant.post("/emit", {"event": "user.created", "payload": {"id": 1}}, {"Idempotency-Key": "one"})["key"]
    tenant.post("/events/v2/projects/shop/events/order-paid", {"order": 42, "amount": 1.50})
    endpoint = tenant.endpoint(f"{receiver.url}/endpoint")
    body = as_json({"event_type": "order.created", "payload": {"order_id": "ORD-001"}})
    tenant.post(f"/e/{endpoint['id']}", body, signed(endpoint["secret"], body))
    tenant.post("/init", {"key": key, "txKey": "worker"})
    tenant.post("/transact", {"key": key, "txKey": "worker", "state": "finished", "output": "a\0b\u0001c"})
    replayed = tenant.post(f"/api/v1/events/evt_{key}/replay")["id"]
    tenant.post("/init", {"key": replayed.removeprefix("evt_"), "txKey": "worker"})
    receiver.wait_for(6, path="/up")
    receiver.wait_for(6, path="/status/503")
    tenant.post(f"/api/v1/destinations/{down['id']}/pause")
    tenant.post("/api/v1/replays", {"filter": {"type": "order-paid"}})
    receiver.wait_for(7, path="/up")
    deadline_s = time.monotonic() + DEADLINE_S
    while tenant.get("/api/v1/jobs")["jobs"][0]["finished_at"] is None:
        assert time.monotonic() < deadline_s, "the job does not end"
    return device


@pytest.fixture(name="life", scope="module")
def _life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    receiver = Receiver()
    process = Process(tmp_path_factory.mktemp("life") / "data", SERVICES)
    try:
        process.start()
        tenant = Tenant(process, process.keys["api_key"])
        device = live(tenant, receiver)
        assert process.stop() == 0
        # What was under way at the end has settled by now.
        process.start()
        shown = shown_by(tenant, device)
        assert process.stop() == 0
        yield Life(process.data, tenant.key, device, shown)
    finally:
        receiver.close()


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PostgresServer]:
    with running_server(fsync="off") as server:
        yield server


@pytest.fixture(name="database")
def _database(server: PostgresServer) -> Iterator[str]:
    with server.database() as name:
        yield name


def migrate(data: Path, url: str, *arguments: str) -> Done:
    return run_program("migrate", "--from", f"sqlite:{data}", "--to", url, *arguments, settings=SETTINGS)


def serving(life: Life, url: str, directory: Path) -> Process:
    """Return a gateway on this database that has the key."""
    key = (life.data / "secret.key").read_text("ascii").strip()
    return Process(directory, SETTINGS | SERVICES | {"TOCSIN_DATABASE": url, "TOCSIN_SECRET_KEY": key})


def test_the_api_shows_after_the_move_what_it_showed_before(
    life: Life, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    done = migrate(life.data, server.dsn(database))
    assert done.status == OK, done
    assert [row["table"] for row in done.rows] == [table.name for table in TABLES]
    assert all(row["equal"] for row in done.rows)
    filled = {row["table"] for row in done.rows if row["rows"]}
    assert filled >= {table.name for table in TABLES} - {"posted", "consumer_run"}
    key = (life.data / "secret.key").read_text("ascii").strip()
    assert "TOCSIN_SECRET_KEY" in done.err
    assert key not in done.err + done.out
    assert "copied event: 100 %" in done.err
    assert "compared event: 100 %" in done.err

    process = serving(life, server.dsn(database), tmp_path / "empty")
    process.start()
    try:
        tenant = Tenant(process, life.key)
        assert shown_by(tenant, life.device) == life.shown
        headers = {"Idempotency-Key": "one"}
        again = tenant.post("/emit", {"event": "user.created", "payload": {"id": 1}}, headers)
        assert f"evt_{again['key']}" in life.shown
        tenant.post("/emit", {"event": "new", "payload": {}})
        newest = tenant.get("/api/v1/events")["events"][0]
        assert newest["event_type"] == "new"
        receiver = Receiver()
        try:
            tenant.webhook(f"{receiver.url}/new", name="new")
            tenant.post("/emit", {"event": "newer", "payload": {}})
            receiver.wait_for(1, path="/new")
        finally:
            receiver.close()
    finally:
        assert process.stop() == 0


def order_last_delivery(connection: apsw.Connection, *, in_its_bucket: bool) -> None:
    """Have the last delivery wait in an order, in the bucket of its lane or in another."""
    ((delivery_id, bucket),) = connection.execute("select id, bucket from delivery order by id desc limit 1")
    lanes = (str(number).encode() for number in count())
    lane = next(each for each in lanes if (lane_bucket(each) == bucket) is in_its_bucket)
    connection.execute("update delivery set lane = ? where id = ?", (lane, delivery_id))


def furnish(data: Path) -> bytes:
    """Add what takes batches, a lease, and a message that can be edited; return a key in the second batch."""
    connection = apsw.Connection(str(data / DATABASE_FILE))
    try:
        connection.execute("delete from idempotency")
        rows = [(0, number.to_bytes(32, "big"), b"e" * 16, b"f" * 16, 1 << 50) for number in range(KEYS)]
        connection.executemany("insert into idempotency values (?, ?, ?, ?, ?)", rows)
        connection.execute(
            "insert into event (bucket, id, organisation_id, dialect, source, type, environment, time_ms, data) "
            "values (0, ?, ?, 'buildable', '', '', 'live', 0, x'31')",
            (first_id_at(OLD_MS), bytes(16)),
        )
        connection.execute("update delivery set state = 1 where id = (select min(id) from delivery)")
        order_last_delivery(connection, in_its_bucket=True)
        connection.execute(
            "insert into posted (destination_id, lane, bucket, organisation_id, event_id, remote_id) "
            "values (?, ?, 63, ?, ?, 'message')",
            (DESTINATION, LANE, bytes(16), bytes(16)),
        )
        connection.execute("insert into consumer_run values (?, 'worker', ?, 'live', ?, ?)", RUN)
    finally:
        connection.close()
    return rows[_BATCH_ROWS_MAX + 1][1]


async def killed_at(url: str, data: Path, digest: bytes) -> None:
    """Kill a move while it waits to store the key with this digest."""
    command = [sys.executable, "-m", "tocsin", "migrate", "--from", f"sqlite:{data}", "--to", url]
    async with open_transaction(url) as connection:
        # Whoever stores the same key waits for the end of this transaction.
        await connection.execute("insert into idempotency values (0, $1, '', '', 0)", digest)
        quiet = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, env=environment(SETTINGS), stderr=quiet)
        ending = asyncio.ensure_future(process.wait())
        try:
            async with asyncio.timeout(DEADLINE_S):
                await waits_for_a_lock(url, ending)
            assert not ending.done(), "it ended before it was killed"
        finally:
            if not ending.done():
                process.kill()
            await ending
        await connection.execute("delete from idempotency where digest = $1", digest)


async def make_schema(url: str) -> None:
    """Open the store once, which makes its tables and stores nothing in them."""
    async with postgres_factory(url)(ManualClock()):
        pass


def test_a_killed_move_is_gone_on_with_and_a_changed_row_is_found(
    life: Life, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    data, url = life.copy(tmp_path / "data"), server.dsn(database)
    digest = furnish(data)

    def ask(statement: str) -> list[Any]:
        return server.execute(statement, database=database)[0]

    asyncio.run(make_schema(url))
    asyncio.run(killed_at(url, data, digest))
    assert ask("select moved_rows from moving_table where name = 'idempotency'") == [(_BATCH_ROWS_MAX,)]
    assert ask("select count(*) from idempotency") == [(_BATCH_ROWS_MAX,)]

    begun = run_program("init", "--database", url, settings=SETTINGS | {"TOCSIN_SECRET_KEY": "11" * 32})
    assert (begun.status, "run tocsin migrate again" in begun.err) == (STORE, True), begun
    other = migrate(life.data, url)
    assert (other.status, "another gateway" in other.err) == (STORE, True), other

    ask("update event set data = data || ' ' where seq = 1")
    ask("delete from replayed")
    changed = migrate(data, url)
    assert changed.status == FAILED, changed
    assert [row["table"] for row in changed.rows if not row["equal"]] == ["event", "replayed"]
    assert changed.err.splitlines()[-1].startswith("tocsin: what is in the database differs in event (")

    ask("update event set data = substr(data, 1, length(data) - 1) where seq = 1")
    ask("delete from moving_table where name = 'replayed'")
    done = migrate(data, url)
    assert done.status == OK, done
    assert {row["table"]: row["rows"] for row in done.rows}["idempotency"] == KEYS

    assert ask("select count(*) from idempotency") == [(KEYS,)]
    old = f"select tableoid::regclass::text from event where id = '\\x{first_id_at(OLD_MS).hex()}'"
    ((first_ms,),) = ask(f"select first_ms from partition_span where first_ms <= {OLD_MS} and end_ms > {OLD_MS}")
    assert ask(old) == [(f"event_{first_ms}",)]
    assert ask("select count(*) from delivery where state = 1") == [(0,)]
    lane = (lane_bucket(LANE), DESTINATION, LANE)
    assert ask("select bucket, destination_id, lane from posted") == [lane]
    runs = "select organisation_id, event_type, environment, tx_key, first_id, end_id from consumer_run"
    assert ask(runs) == [(RUN[0], held(RUN[1]), "live", "worker", *RUN[2:])]
    lanes = "select destination_id, lane from lane order by 1, 2"
    live_lanes = "select distinct destination_id, lane from delivery where lane is not null order by 1, 2"
    assert ask(lanes) == ask(live_lanes) != []
    assert ask("select last_value from attempt_seq") == ask("select max(seq) from attempt")
    assert ask("select to_regclass('moving')") == [(None,)]
    again = migrate(data, url)
    assert (again.status, "is not empty" in again.err) == (STORE, True), again


def with_odd_row(data: Path) -> Path:
    """Let events have a text for data, which no gateway stores."""
    connection = apsw.Connection(str(data / DATABASE_FILE))
    connection.execute("update event set data = 'text'")
    connection.close()
    return data


def test_a_row_that_no_gateway_stores_is_refused(
    life: Life, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    done = migrate(with_odd_row(life.copy(tmp_path / "odd")), server.dsn(database))
    assert (done.status, "a row of event cannot be stored" in done.err) == (STORE, True), done


def test_a_move_waits_for_what_is_ordered_elsewhere(
    life: Life, server: PostgresServer, database: str, tmp_path: Path
) -> None:
    data = life.copy(tmp_path / "data")
    connection = apsw.Connection(str(data / DATABASE_FILE))
    order_last_delivery(connection, in_its_bucket=False)
    refused = migrate(data, server.dsn(database))
    assert (refused.status, "1 deliveries to ordered destinations" in refused.err) == (STORE, True), refused
    assert server.execute("select to_regclass('event')", database=database) == [[(None,)]]
    order_last_delivery(connection, in_its_bucket=True)
    connection.close()
    done = migrate(data, server.dsn(database))
    assert done.status == OK, done


def test_a_move_that_cannot_be_is_refused(life: Life, server: PostgresServer, database: str, tmp_path: Path) -> None:
    data, url = life.copy(tmp_path / "data"), server.dsn(database)
    running = Process(data)
    running.start()
    try:
        taken = migrate(data, url)
    finally:
        assert running.stop() == 0
    assert (taken.status, "is in use by another process" in taken.err) == (STORE, True), taken
    connection = apsw.Connection(str(data / DATABASE_FILE))
    connection.execute("delete from schema_migration where number = (select max(number) from schema_migration)")
    connection.close()
    old = migrate(data, url)
    assert (old.status, "of an older Tocsin" in old.err) == (STORE, True), old
    none = migrate(tmp_path / "nowhere", url)
    assert (none.status, "is not there" in none.err) == (STORE, True), none
    assert not (tmp_path / "nowhere").exists()
    # Nothing of these has touched the database.
    assert server.execute("select to_regclass('event')", database=database) == [[(None,)]]
    work = SETTINGS | {"TOCSIN_DATABASE": url, "TOCSIN_SECRET_KEY": "11" * 32}
    with running_program(tmp_path, command="work", settings=work):
        used = migrate(life.data, url)
    assert (used.status, "a dispatcher uses the database" in used.err) == (STORE, True), used
    for arguments in (["--from", f"sqlite:{life.data}"], ["--from", str(life.data), "--to", url]):
        wrong = run_program("migrate", *arguments, settings=SETTINGS)
        assert wrong.status == USAGE, wrong


def test_every_table_and_column_of_both_schemas_is_moved(life: Life, server: PostgresServer, database: str) -> None:
    url = server.dsn(database)
    asyncio.run(make_schema(url))
    query = (
        "select table_name, array_agg(column_name::text) from information_schema.columns "
        "where table_schema = 'public' group by 1"
    )
    partitions = {
        row[0] for row in server.execute("select relname from pg_class where relispartition", database=database)[0]
    }
    target = {name: set(columns) for name, columns in server.execute(query, database=database)[0]}
    own = {"schema_migration", "store", "gate", "partition_span", "lane"}
    moved = {table.name: set(table.target_columns) for table in TABLES}
    assert {name: each for name, each in target.items() if name not in own | partitions} == moved
    connection = apsw.Connection(str(life.data / DATABASE_FILE))
    try:
        names = [row[0] for row in connection.execute("select name from sqlite_schema where type = 'table'")]
        source = {
            name: {row[1] for row in connection.execute(f"pragma table_info({name})")}
            for name in names
            if name != "schema_migration" and not name.startswith("sqlite_")
        }
    finally:
        connection.close()
    assert {name: each | {"bucket"} for name, each in source.items()} == {
        table.name: {*table.columns, "bucket"} for table in TABLES
    }
