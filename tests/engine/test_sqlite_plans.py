"""How SQLite goes about each statement: by which index, and never through a whole table."""

from __future__ import annotations

from typing import Any

import apsw
import apsw.ext
import pytest

from tocsin.core.event import Environment
from tocsin.core.identifiers import EventId, OrganisationId
from tocsin.core.transaction import TransactionState
from tocsin.engine import migrations
from tocsin.engine.rows import (
    AttemptQuery,
    DeliveryQuery,
    IncidentQuery,
    MailboxQuery,
    Query,
    StandingQuery,
    SubscriptionQuery,
    TransactionQuery,
)
from tocsin.engine.sqlite.search import search
from tocsin.engine.sqlite.sql import SQL

WHOLE_TABLE_ON_PURPOSE = {
    "release_all_leases": "delivery",
    "queue_depth": "delivery",
    "blocked_depth": "delivery",
    "mailbox_depth": "mailbox",
}
"""Statements that go through a table: at start, when nobody waits for an answer but the operator; and for a scrape,
in a reader, where they go through an index of what waits, within the bound of every search."""

ORDERED_BY_AN_INDEX = {TransactionQuery, StandingQuery, IncidentQuery, MailboxQuery}


def _plan(connection: apsw.Connection, text: str) -> list[str]:
    lines: list[str] = []

    def walk(node: Any) -> None:
        lines.append(node.detail)
        for each in node.sub or ():
            walk(each)

    walk(apsw.ext.query_info(connection, text, explain_query_plan=True).query_plan)
    return lines


def _fresh() -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    for migration in migrations.load("sqlite"):
        connection.execute(migration.text)
    return connection


def _tables_scanned(plan: list[str]) -> list[str]:
    tables = {"event", "delivery", "delivery_history", "attempt", "idempotency", "mailbox", "incident"}
    tables |= {"consumer_transaction", "subscription", "replayed", "d", "e", "t", "m", "a"}
    scanned = [line.split()[1] for line in plan if line.startswith("SCAN")]
    return [each for each in scanned if each in tables]


def _queries() -> list[Query[Any]]:
    organisation, event_id = OrganisationId(b"o" * 16), EventId(b"e" * 16)
    processing = TransactionState.PROCESSING
    return [
        DeliveryQuery(organisation_id=organisation, event_id=event_id),
        AttemptQuery(organisation_id=organisation, event_id=event_id),
        AttemptQuery(organisation_id=organisation, delivery_id=event_id),  # type: ignore[arg-type]
        TransactionQuery(organisation_id=organisation),
        TransactionQuery(organisation_id=organisation, event_id=event_id),
        TransactionQuery(
            organisation_id=organisation, tx_key="k", type="t", state=processing, environment=Environment.LIVE
        ),
        StandingQuery(organisation_id=organisation, tx_key="k", type="t", environment=Environment.TEST),
        StandingQuery(
            organisation_id=organisation, tx_key="k", type="t", environment=Environment.TEST, state=processing
        ),
        IncidentQuery(organisation_id=organisation, environment=Environment.TEST),
        SubscriptionQuery(organisation_id=organisation, device_key="k"),
        MailboxQuery(organisation_id=organisation, device_key="k", now_ms=1),
    ]


@pytest.mark.parametrize("cursor", [None, b"c" * 16])
def test_no_list_goes_through_a_whole_table_or_sorts_one(cursor: bytes | None) -> None:
    connection = _fresh()
    texts: list[str] = []

    def trace(_cursor: apsw.Cursor, text: str, _bindings: object) -> bool:
        texts.append(text)
        return True

    for query in _queries():
        connection.exec_trace = trace
        search(connection, query, limit=3, cursor=cursor, offset=1, now_ms=1)
        connection.exec_trace = None
        while texts:
            text = texts.pop()
            plan = _plan(connection, text)
            assert _tables_scanned(plan) == [], (query, plan)
            # A union of two lists, each of them cut off in its order, is sorted at the end.
            if type(query) in ORDERED_BY_AN_INDEX and "union all select * from" not in text:
                assert not any("TEMP B-TREE" in line for line in plan), (query, plan)
    connection.close()


@pytest.mark.parametrize("name", ["tallies", "started", "started_total", "looked_at", "lapsed"])
def test_what_counts_and_finds_standings_stands_in_indexes_alone(name: str) -> None:
    connection = _fresh()
    plan = _plan(connection, SQL.many(name, 2) if "{" in SQL[name] else SQL[name])
    connection.close()
    searches = [line for line in plan if line.startswith("SEARCH")]
    assert searches
    assert all("USING COVERING INDEX" in line for line in searches), plan
    assert not any("TEMP B-TREE" in line for line in plan), plan


def test_the_page_of_standings_finds_each_row_by_an_index_and_counts_in_one() -> None:
    connection = _fresh()
    plan = _plan(connection, SQL.many("standings", 2))
    connection.close()
    searches = [line for line in plan if line.startswith("SEARCH")]
    assert [line.split(" (")[0] for line in searches] == [
        "SEARCH e USING INDEX event_by_id",
        "SEARCH t USING INDEX consumer_transaction_by_event",
        *["SEARCH consumer_transaction USING COVERING INDEX consumer_transaction_by_organisation"] * 2,
    ]


def test_no_statement_goes_through_a_whole_table() -> None:
    connection = _fresh()
    checked = 0
    for name in SQL.names():
        text = SQL.many(name, 2) if "{" in SQL[name] else SQL[name]
        plan = _plan(connection, text)
        allowed = [WHOLE_TABLE_ON_PURPOSE[name]] if name in WHOLE_TABLE_ON_PURPOSE else []
        assert _tables_scanned(plan) == allowed, (name, plan)
        checked += 1
    connection.close()
    assert checked > 60
