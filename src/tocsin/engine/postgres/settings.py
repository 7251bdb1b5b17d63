"""The bounds of this engine."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import DAY_MS
from tocsin.engine.payloads import PAGE_BYTES_MAX
from tocsin.engine.postgres.parts import Parts


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the engine on PostgreSQL, where `TOCSIN_DATABASE` is set.

    Attributes:
        dsn: libpq's URL, its TLS parameters included, ``postgresql://user@host/name?sslmode=verify-full``.
        listen_dsn: reaches the server itself where ``dsn`` names a pooler, for LISTEN and NOTIFY; the same where it
            is None.
        listens: whether processes tell each other of work; without it they find it when they next look, as they do
            where ``dsn`` names a pooler and ``listen_dsn`` is None.
        connections: kept at the most, that for LISTEN aside.
        waiting_max: writes, and calls for a connection, that wait; above it they are refused with ``Unavailable``.
        batch_max: events, or results of attempts, that share a transaction.
        batches_at_once: transactions that store events at the same time, and as many that store results.
        patience_s: how long results of attempts wait for others to share a transaction with; those for which the next
            of an ordered lane waits do not.
        statements_kept: prepared statements of each connection; none are kept where a pooler answers.
        pooler_keeps_statements: keeps them behind a pooler, too: true with PgBouncer 1.21 or later whose
            `max_prepared_statements` is above 0, and with a pooler in session mode.
        connect_max_s: for making a connection.
        wait_max_s: for getting one that is free.
        write_max_s: for one transaction with all its tries.
        idle_max_s: for which a transaction may wait for its process, which was stopped or cut off: others wait for
            what it locked.
        query_max_s: a search that takes longer is stopped.
        scan_events_max: events that a search looks at for one page, where no index leads to what it wants alone.
        scan_max_s: how long it does so for one page.
        count_max_s: how long it counts all that match.
        thorough_count_max_s: how long it does so before a bulk replay or a recovery, whose caller waits for it.
        page_bytes_max: payloads of one page of any list; it ends before the row that would pass it.
        retention_ms: how long events are kept; None is for ever.
        retention_slack_ms: how much longer an event may stay, so that it goes with its whole partition, which costs
            nothing; None is as long as a partition.
        audit_retention_ms: how long the records of what was done by hand are kept; None is for ever.
        job_retention_ms: how long a job is kept once it is over; None is for ever.
        partition_ms: how much time one partition holds; None is a day where events are kept for up to sixty, a week
            where they are kept for longer, four weeks where for ever.
        partitions_ahead_ms: for how long partitions are made ahead.
        parts: how the buckets are spread; None is as the server says.
        application_name: how the server's lists name us.
        synchronous_commit: ``on``; less only for tests that must fail with it.
        fsync_needed: False takes a server that loses what it acknowledged, for tests.
    """

    dsn: str
    listen_dsn: str | None = None
    listens: bool = True
    connections: int = 10
    waiting_max: int = 10_000
    batch_max: int = 500
    batches_at_once: int = 2
    patience_s: float = 0.01
    statements_kept: int = 200
    pooler_keeps_statements: bool = False
    connect_max_s: float = 10.0
    wait_max_s: float = 10.0
    write_max_s: float = 30.0
    idle_max_s: float = 5.0
    query_max_s: float = 5.0
    scan_events_max: int = 200_000
    scan_max_s: float = 0.5
    count_max_s: float = 0.05
    thorough_count_max_s: float = 2.0
    page_bytes_max: int = PAGE_BYTES_MAX
    retention_ms: int | None = None
    retention_slack_ms: int | None = None
    audit_retention_ms: int | None = 400 * DAY_MS
    job_retention_ms: int | None = 90 * DAY_MS
    partition_ms: int | None = None
    partitions_ahead_ms: int = 7 * DAY_MS
    parts: Parts | None = None
    application_name: str = "tocsin"
    synchronous_commit: str = "on"
    fsync_needed: bool = True
