"""Storing events with all that belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.event import Event
from tocsin.core.identifiers import EventId
from tocsin.engine.codec import incident_of, incident_row
from tocsin.engine.judging import Judge, Stored
from tocsin.engine.rows import Acceptance, Accepted, AcceptFailed, NewEvent
from tocsin.engine.sqlite import audit, settle
from tocsin.engine.sqlite.faults import lies_with_the_store
from tocsin.engine.sqlite.sql import SQL, fetch_by_marks, fetch_by_rows, first, write_rows


def accept(
    connection: apsw.Connection, events: Sequence[NewEvent], *, lease_until_ms: int, now_ms: int
) -> list[Acceptance]:
    """Store the batch with its records, all of it or, raising, nothing."""
    results = _Batch(connection, lease_until_ms=lease_until_ms, now_ms=now_ms).store(events)
    accepted = (new for new, result in zip(events, results, strict=True) if isinstance(result, Accepted))
    audit.keep(connection, [new.record for new in accepted if new.record is not None])
    return results


def accept_each(
    connection: apsw.Connection, events: Sequence[NewEvent], *, lease_until_ms: int, now_ms: int
) -> list[Acceptance]:
    """Store the events one by one, so that a faulty one fails alone."""
    results: list[Acceptance] = []
    for event in events:
        connection.execute("savepoint event")
        try:
            results += accept(connection, [event], lease_until_ms=lease_until_ms, now_ms=now_ms)
        except Exception as error:
            if lies_with_the_store(error):
                raise
            connection.execute("rollback to event")
            results.append(AcceptFailed(f"{type(error).__name__}: {error}"))
        connection.execute("release event")
    return results


class _Batch:
    """One batch on its way in: judged event by event, then written table by table."""

    def __init__(self, connection: apsw.Connection, *, lease_until_ms: int, now_ms: int) -> None:
        self._connection = connection
        self._lease_until_ms = lease_until_ms
        self._now_ms = now_ms
        row = first(connection, "newest_event")
        assert row is not None
        self._seq: int = row[0]
        self._newest: bytes = row[1] or b""

    def store(self, events: Sequence[NewEvent]) -> list[Acceptance]:
        connection = self._connection
        judge = Judge(self._look_up(events), now_ms=self._now_ms, number=self._seq)
        results = [judge.judge(event, self._lease_until_ms) for event in events]
        write_rows(connection, "insert_events", judge.events)
        write_rows(connection, "insert_keys", list(judge.keys.values()))
        write_rows(connection, "insert_deliveries", judge.deliveries)
        write_rows(connection, "save_incidents", [incident_row(each) for each in judge.incidents.values()])
        write_rows(connection, "save_quotas", [(*counter, used) for counter, used in judge.quotas.items()])
        write_rows(connection, "fill_mailboxes", judge.mailbox_items)
        for event in judge.replays:
            self._take_place(event)
        for result in results:
            if isinstance(result, Accepted):
                self._cut_runs(result.event)
        return results

    def _look_up(self, events: Sequence[NewEvent]) -> Stored:
        stored = Stored()
        keys = [(key.bucket, key.digest) for event in events for key in event.idempotency]
        for digest, event_id, fingerprint in fetch_by_rows(self._connection, "known_keys", keys, self._now_ms):
            stored.known[digest] = (EventId(event_id), fingerprint)
        wanted = {new.incident.incident_id for new in events if new.incident is not None} - {None}
        for incident_id, body in fetch_by_marks(self._connection, "incidents_by_id", (), list(wanted)):
            stored.incidents[incident_id] = incident_of(body)
        for counter in {(new.event.organisation_id, new.quota.name) for new in events if new.quota is not None}:
            row = first(self._connection, "quota_used", *counter)
            stored.used[counter] = 0 if row is None else int(row[0])
        lanes = {
            (delivery.destination_id, delivery.lane)
            for new in events
            for delivery in new.deliveries
            if delivery.lane is not None
        }
        stored.busy_lanes.update(fetch_by_rows(self._connection, "busy_lanes", list(lanes)))
        return stored

    def _cut_runs(self, event: Event) -> None:
        """End the runs of started events that would step over one whose id lies before others."""
        if event.id < self._newest:
            self._connection.execute(SQL["cut_runs"], (event.id, event.organisation_id, event.type))
        else:
            self._newest = event.id

    def _take_place(self, event: Event) -> None:
        """Let a replay stand for the event that it repeats."""
        if event.replay_of is not None:
            self._connection.execute(SQL["mark_replayed"], (event.id, event.replay_of, event.organisation_id))
            settle.cancel_waiting(self._connection, event.organisation_id, event.replay_of, now_ms=self._now_ms)
