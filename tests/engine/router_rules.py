"""What a cluster asks of a statement, judged by the plan that PostgreSQL makes of it.

Citus runs a statement on the one node that has all its rows, as it is, when PostgreSQL's own planner finds at every
occurrence of a distributed table a filter ``bucket = constant`` or ``bucket = any(constants)`` whose buckets all lie
in one shard. The same planner tells here where it finds such filters.

Source: citusdata/citus, src/backend/distributed/planner: multi_router_planner.c, shard_pruning.c,
insert_select_planner.c; docs.citusdata.com, "SQL Support and Workarounds".
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from engine.postgres_server import postgres_settings
from tocsin.core.clock import Clock
from tocsin.engine.postgres import PostgresEngine, PostgresSettings
from tocsin.engine.postgres.cluster import DISTRIBUTED
from tocsin.engine.postgres.parts import Parts
from tocsin.engine.postgres.pool import Pool, PoolSettings
from tocsin.engine.postgres.spans import TABLES as PARTITIONED
from tocsin.engine.postgres.sql import Connection
from tocsin.engine.protocol import Engine
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import EngineFactory

Node = dict[str, Any]
Judge: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_PARTITION = re.compile(rf"({'|'.join(PARTITIONED)})_\d+")
_ANY = re.compile(r"(?:\w+\.)?bucket = ANY \('\{([\d,]+)\}'::smallint\[\]\)")
_ONE = re.compile(r"(?:\w+\.)?bucket = '?(\d+)'?(?:::smallint)?")
_CONDITIONS = ("Index Cond", "Recheck Cond", "Filter", "TID Cond")
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(r"\b([a-z_][a-z0-9_]*)\s*\(")
_PARAMETER = re.compile(r"\$\d+")
_JUDGED = ("select", "with", "insert", "update", "delete")
_NAMED = re.compile(r"\bbucket = (?:any\()?\$(\d+)")
_ADDED_UP = ("select max(seq) >> 20 from event",)
"""One table, one aggregate and no lock: a cluster runs it over all shards. It is run once, as a process starts."""
_EACH_TEXT_MAX = 3
"""How often the plan of one text is looked at: its other bindings differ in what they name, not in how."""
_BEHIND_ROWS = re.compile(r"\bon conflict\b.*|\breturning\b.*")
_VOLATILE = "select proname from pg_proc where proname = any($1) and provolatile = 'v'"


@asynccontextmanager
async def judging(dsn: str) -> AsyncIterator[Judge]:
    """Open a connection on which statements are judged: their plans leave out no table, whatever is in it."""
    connection = await asyncpg.connect(
        dsn, server_settings={"enable_partition_pruning": "off", "constraint_exclusion": "off"}
    )
    try:
        for table in PARTITIONED:
            if not await connection.fetchval(
                "select count(*) from pg_inherits where inhparent = to_regclass($1)", table
            ):
                await connection.execute(f"create table {table}_0 partition of {table} default")
        yield connection
    finally:
        await connection.close()


async def faults(connection: Judge, text: str, bindings: Sequence[Any], parts: Parts) -> list[str]:
    """Return what a cluster would object to in a statement with these bindings; nothing is run."""
    plan = await _plan(connection, text, bindings)
    found = _faults_of_plan(plan, parts)
    relations = {name for name, _ in _relations(plan)}
    if not relations & set(DISTRIBUTED):
        return found
    words = " ".join(_LITERAL.sub("''", text.lower()).split())
    if plan["Node Type"] == "ModifyTable" and plan["Operation"] != "Insert":
        calls = sorted(set(_CALL.findall(words)))
        found += [f"calls {row[0]}, which is volatile" for row in await connection.fetch(_VOLATILE, calls)]
    if plan["Node Type"] == "ModifyTable" and plan["Operation"] == "Insert" and " select " in words:
        behind = _BEHIND_ROWS.search(words)
        if behind is not None and _PARAMETER.search(behind.group()):
            found.append("has a parameter behind the rows of an insert, where none are passed on")
    return found


class Watch:
    """Judges all that engines send.

    Args:
        parts: in which their store is.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sent: list[asyncpg.connection.LoggedQuery] = []
        self._looked_at: Counter[str] = Counter()

    def factory(self, dsn: str, *, is_spread: bool = True) -> EngineFactory:
        """Return what opens the store in this database, and is watched.

        Args:
            is_spread: False has it take all buckets for one part.
        """

        @asynccontextmanager
        async def opened(clock: ManualClock) -> AsyncIterator[Engine]:
            settings = postgres_settings(dsn, parts=self._parts if is_spread else None)
            engine = _WatchedEngine(settings, clock, self._sent.append)
            await engine.open()
            try:
                yield engine
            finally:
                await engine.close()

        return opened

    async def faults(self, dsn: str) -> dict[str, list[str]]:
        """Return what a cluster would object to in what was sent since the last call, by its text."""
        found: dict[str, list[str]] = {}
        sent, self._sent[:] = list(self._sent), []
        async with judging(dsn) as connection:
            for each in sent:
                text = each.query.strip()
                if not text.startswith(_JUDGED) or ";" in text or text in _ADDED_UP or each.exception is not None:
                    continue
                said = _faults_at_a_glance(text, each.args, self._parts)
                if self._looked_at[text] < _EACH_TEXT_MAX:
                    self._looked_at[text] += 1
                    said += await faults(connection, text, each.args, self._parts)
                if said:
                    found[text] = said
        return found


class _WatchedEngine(PostgresEngine):
    def __init__(self, settings: PostgresSettings, clock: Clock, hears: Callable[..., None]) -> None:
        super().__init__(settings, clock=clock)
        self._pool = _WatchedPool(self._pool._settings, hears)


class _WatchedPool(Pool):
    def __init__(self, settings: PoolSettings, hears: Callable[..., None]) -> None:
        super().__init__(settings)
        self._hears = hears

    async def connect(self) -> Connection:
        connection = await super().connect()
        connection.add_query_logger(self._hears)
        return connection


def _faults_at_a_glance(text: str, bindings: Sequence[Any], parts: Parts) -> list[str]:
    """Return what is wrong with the buckets that a statement names."""
    named: set[int] = set()
    for number in _NAMED.findall(text):
        value = bindings[int(number) - 1]
        named |= {value} if isinstance(value, int) else set(value)
    if named and not any(named <= set(part) for part in parts.all):
        return ["names buckets of more than one part"]
    return []


async def _plan(connection: Judge, text: str, bindings: Sequence[Any]) -> Node:
    told = await connection.fetchval(f"explain (format json, costs off) {text}", *bindings)
    plan: Node = json.loads(told)[0]["Plan"]
    return plan


def _faults_of_plan(plan: Node, parts: Parts) -> list[str]:
    found = []
    modified = plan["Relation Name"] if plan["Node Type"] == "ModifyTable" else None
    scanned = {_table(node["Relation Name"]) for node in _scans(plan)}
    ours, whole = scanned & set(DISTRIBUTED), scanned - set(DISTRIBUTED)
    if ours and whole:
        found.append(f"reads {', '.join(sorted(ours))} together with {', '.join(sorted(whole))}")
    if modified is not None and plan["Operation"] != "Insert":
        if _table(modified) in DISTRIBUTED and whole:
            found.append(f"changes {modified} by what is in {', '.join(sorted(whole))}")
        if _table(modified) not in DISTRIBUTED and ours:
            found.append(f"changes {modified} by what is in {', '.join(sorted(ours))}")
    if any(node["Node Type"] == "ModifyTable" for node in _nodes(plan) if node is not plan):
        found.append("changes rows within a query")
    if modified is not None and _table(modified) in DISTRIBUTED:
        found += ["inserts several VALUES" for node in _nodes(plan) if node["Node Type"] == "Values Scan"]
    together: set[int] = set()
    for node in _scans(plan):
        table = _table(node["Relation Name"])
        if table in DISTRIBUTED:
            buckets = _buckets(node)
            if buckets is None:
                found.append(f"reads {table} in every bucket")
            together |= buckets or set()
    if together and not any(together <= set(part) for part in parts.all):
        found.append("reads buckets of more than one part")
    return found


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from _nodes(each)


def _scans(plan: Node) -> Iterator[Node]:
    return (node for node in _nodes(plan) if "Relation Name" in node and node["Node Type"] != "ModifyTable")


def _relations(plan: Node) -> Iterator[tuple[str, Node]]:
    return ((_table(node["Relation Name"]), node) for node in _nodes(plan) if "Relation Name" in node)


def _table(relation: str) -> str:
    """Return the table that a relation is, or is a partition of."""
    partition = _PARTITION.fullmatch(relation)
    return relation if partition is None else partition.group(1)


def _buckets(scan: Node) -> set[int] | None:
    """Return the buckets to which a scan is restricted by constants; None where it is not."""
    for name in _CONDITIONS:
        for condition in _conjuncts(scan.get(name, "")):
            several = _ANY.fullmatch(condition)
            if several is not None:
                return {int(each) for each in several.group(1).split(",")}
            one = _ONE.fullmatch(condition)
            if one is not None:
                return {int(one.group(1))}
    return None


def _conjuncts(condition: str) -> list[str]:
    """Return the parts of a condition that all must hold, each without its outermost parentheses."""
    bare = _unwrapped(condition)
    parts, depth, start, quoted = [], 0, 0, False
    for at, letter in enumerate(bare):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
        elif not quoted and depth == 0 and bare.startswith(" OR ", at):
            return [bare]
        elif not quoted and depth == 0 and bare.startswith(" AND ", at):
            parts.append(bare[start:at])
            start = at + len(" AND ")
    parts.append(bare[start:])
    return [_unwrapped(each) for each in parts]


def _unwrapped(text: str) -> str:
    """Return a text without the parentheses that enclose all of it."""
    while text.startswith("(") and _closing(text) == len(text) - 1:
        text = text[1:-1]
    return text


def _closing(text: str) -> int:
    depth, quoted = 0, False
    for at, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif not quoted and letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return at
    return -1
