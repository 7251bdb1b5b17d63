"""Each statement of the PostgreSQL engine is one that a cluster runs where the rows are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from engine.paper_cluster import PaperCluster
from engine.postgres_server import PostgresServer
from engine.router_rules import Judge, faults, judging
from tocsin.engine.postgres.parts import even_parts
from tocsin.engine.postgres.sql import SQL, _text_of

T = TypeVar("T")

PARTS = even_parts(8)
HERE, THERE = 3, 4
"""Buckets of two parts."""
ID = bytes(16)

VALUES: dict[str, Any] = {
    "int2": HERE,
    "int4": 1,
    "int8": 1,
    "float8": 1.0,
    "bytea": ID,
    "text": "a",
    "bool": True,
}
"""By type: what is bound; never null, since a plan leaves out what then cannot be true."""


def on(dsn: str, play: Callable[[Judge], Awaitable[T]]) -> T:
    """Return what a play with a connection returns."""

    async def run() -> T:
        async with judging(dsn) as connection:
            return await play(connection)

    return asyncio.run(run())


async def bindings_for(connection: Judge, text: str) -> list[Any]:
    """Return values for the parameters of a statement."""
    statement = await connection.prepare(text)
    return [
        [VALUES[each.name.removesuffix("[]")]] if each.kind == "array" else VALUES[each.name]
        for each in statement.get_parameters()
    ]


@pytest.mark.timeout(300)
def test_every_statement_runs_on_one_node(postgres: PostgresServer, dsn: str) -> None:
    # Some ask a cluster's own functions.
    PaperCluster(postgres, dsn.rpartition("/")[2])

    async def play(connection: Judge) -> dict[str, list[str]]:
        found = {}
        for name in SQL.names():
            text, _ = _text_of(name, is_told=True)
            if "run_command_on_all_nodes" in text:
                # Asks the nodes themselves, which only a cluster has.
                continue
            said = await faults(connection, text, await bindings_for(connection, text), PARTS)
            if said:
                found[name] = said
        return found

    assert on(dsn, play) == {}


TWO = [HERE, THERE]
UNNEST = "unnest($1::smallint[], $2::bytea[]) as wanted (bucket, id)"
IN_PARTS = [
    ("select 1 from delivery where bucket = any($1) and id = $2", [[HERE], ID]),
    ("select 1 from delivery where bucket = $1 and id = $2 for update skip locked", [HERE, ID]),
    (
        (
            f"select e.id from {UNNEST} cross join lateral (select * from event "
            "where event.bucket = any($1) and event.bucket = wanted.bucket and event.id = wanted.id offset 0) e"
        ),
        [[HERE], [ID]],
    ),
    (
        (
            f"update delivery set due_ms = 0 from {UNNEST} "
            "where delivery.bucket = any($1) and delivery.bucket = wanted.bucket and delivery.id = wanted.id"
        ),
        [[HERE], [ID]],
    ),
    (
        (
            "delete from idempotency where bucket = any($1) and ctid = any(array(select ctid from idempotency "
            "where bucket = any($1) and expires_ms < $2 limit 5 for update skip locked))"
        ),
        [[HERE], 1],
    ),
    ("insert into replayed select * from unnest($1::smallint[], $2::bytea[], $2::bytea[], $2::bytea[])", [TWO, [ID]]),
    (
        (
            "insert into lane select * from unnest($1::smallint[], $2::bytea[], $2::bytea[]) "
            "on conflict (bucket, destination_id, lane) do update set lane = excluded.lane returning lane"
        ),
        [TWO, [ID]],
    ),
    ("select used from quota where organisation_id = $1", [ID]),
]
AGAINST: list[tuple[str, list[Any], str]] = [
    ("select 1 from delivery where id = $1", [ID], "reads delivery in every bucket"),
    ("select 1 from event where id = $1", [ID], "reads event in every bucket"),
    ("select 1 from delivery where bucket = any($1)", [TWO], "reads buckets of more than one part"),
    (
        "select 1 from delivery a join delivery b on a.id = b.id where a.bucket = $1 and b.bucket = $2",
        [HERE, THERE],
        "reads buckets of more than one part",
    ),
    (
        "select 1 from delivery where bucket = any($1) or id = $2",
        [[HERE], ID],
        "reads delivery in every bucket",
    ),
    (
        "select 1 from delivery where bucket = any(array(select unnest($1::smallint[])))",
        [[HERE]],
        "reads delivery in every bucket",
    ),
    (
        f"select 1 from {UNNEST} join delivery on delivery.bucket = wanted.bucket and delivery.id = wanted.id",
        [[HERE], [ID]],
        "reads delivery in every bucket",
    ),
    (
        (
            "select 1 from event where bucket = any($1) and not exists (select 1 from consumer_transaction t "
            "where t.bucket = get_byte(event.id, 8) & 63 and t.event_id = event.id)"
        ),
        [[HERE]],
        "reads consumer_transaction in every bucket",
    ),
    (
        "select 1 from delivery join mailbox using (event_id) where bucket = any($1)",
        [[HERE]],
        "reads delivery together with mailbox",
    ),
    (
        "delete from delivery using mailbox where delivery.event_id = mailbox.event_id and bucket = any($1)",
        [[HERE]],
        "reads delivery together with mailbox",
    ),
    (
        (
            "delete from delivery where bucket = any($1) and event_id in (select event_id from delivery_history "
            "where id = $2)"
        ),
        [[HERE], ID],
        "reads delivery_history in every bucket",
    ),
    (
        "with gone as (delete from delivery where bucket = any($1) returning id) select * from gone",
        [[HERE]],
        "changes rows within a query",
    ),
    (
        "update delivery set due_ms = (random() * 9)::bigint where bucket = any($1)",
        [[HERE]],
        "calls random, which is volatile",
    ),
    (
        (
            "insert into idempotency\nselect * from unnest($1::smallint[], $2::bytea[], $2::bytea[], $2::bytea[], "
            "$3::bigint[]) on conflict (bucket, digest) do update set expires_ms = excluded.expires_ms "
            "where idempotency.expires_ms < $4"
        ),
        [[HERE], [ID], [1], 2],
        "has a parameter behind the rows of an insert, where none are passed on",
    ),
    (
        "insert into replayed values ($1, $2, $2, $2), ($1, $3, $3, $3)",
        [HERE, ID, b"\x01" * 16],
        "inserts several VALUES",
    ),
]


@pytest.mark.parametrize(("text", "bindings"), IN_PARTS)
def test_the_rules_let_pass_what_a_cluster_runs(dsn: str, text: str, bindings: list[Any]) -> None:
    assert on(dsn, lambda connection: faults(connection, text, bindings, PARTS)) == []


@pytest.mark.parametrize(("text", "bindings", "said"), AGAINST)
def test_the_rules_tell_what_a_cluster_does_not_run(dsn: str, text: str, bindings: list[Any], said: str) -> None:
    assert said in on(dsn, lambda connection: faults(connection, text, bindings, PARTS))
