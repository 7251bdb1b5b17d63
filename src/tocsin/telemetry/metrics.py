"""Names, labels and buckets of every metric: a contract that docs/telemetry.md repeats.

No label ever holds an id, a URL, an event's type or an organisation: how many series there are depends on the
program, not on who uses it.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest

import tocsin
from tocsin.core.delivery import Deferred, Delivered, DeliveryState, Lease, Outcome
from tocsin.core.destination import Transport
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import created_ms
from tocsin.telemetry.instruments import Instrument, Level, Row, Spread, Tally

QUICK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of what a client waits for."""
SEND_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Of one attempt; the longest timeout there is by default is 60 s."""
WAY_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 21600.0, 86400.0)
"""Of an event's way, retries and their waits included."""
RESULTS = ("stored", "repeated", "refused", "unavailable", "failed")
"""What became of an event that was to be stored."""
_ENDS = (DeliveryState.DELIVERED, DeliveryState.EXPIRED)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CHECKPOINT_BYTES = tuple(float(2**power) for power in range(16, 31, 2))


class StoreMetrics:
    """What the store's own thread counts; nothing else writes here."""

    def __init__(self) -> None:
        self.commit_seconds = Spread(
            "tocsin_store_commit_seconds", "From the beginning of a transaction until it is on the disk.", QUICK_S
        )
        self.commit_writes = Spread("tocsin_store_commit_writes", "Writes that shared a transaction.", SIZES)
        self.commit_failures = Tally("tocsin_store_commit_failures", "Transactions that could not be stored.")
        self.checkpoint_seconds = Spread(
            "tocsin_store_checkpoint_seconds", "Copying the log into the database.", QUICK_S
        )
        self.checkpoint_bytes = Spread(
            "tocsin_store_checkpoint_bytes", "The log's size when it was copied.", CHECKPOINT_BYTES
        )

    def committed(self, writes: int, seconds: float) -> None:
        """Count a transaction."""
        self.commit_seconds.observe(seconds)
        self.commit_writes.observe(writes)

    def checkpointed(self, log_bytes: int, seconds: float) -> None:
        """Count a copying of the log."""
        self.checkpoint_bytes.observe(log_bytes)
        self.checkpoint_seconds.observe(seconds)


class Metrics:
    """What is counted. One registry of its own, so that two gateways in one process do not mix.

    Counted on the event loop's thread only, ``store`` aside. The attributes that are gauges are told by whoever knows
    how to read them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.store = StoreMetrics()
        self._http()
        self._intake()
        self._sending()
        self._standing()
        for part in (self, self.store):
            for instrument in vars(part).values():
                if isinstance(instrument, Instrument):
                    self.registry.register(instrument)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # What never happened is 0 and not absent, so that the first time counts as a rise.
        self._events.counts.update({(dialect, result): 0 for dialect in Dialect for result in RESULTS})
        self._finished.counts.update({(way, state): 0 for way in Transport for state in _ENDS})
        self._rows: dict[Transport, tuple[Row, Row]] = {}
        self.build.read = lambda: {(tocsin.__version__, platform.python_version()): 1}
        self.writable.set(1)

    # -- names ------------------------------------------------------------------------------------------

    def _http(self) -> None:
        self._requests = Tally("tocsin_requests", "Answered requests.", ("dialect", "route", "status"))
        self._request_seconds = Spread(
            "tocsin_request_seconds", "From a request's head until its answer is made.", QUICK_S, ("dialect",)
        )
        self._refusals = Tally("tocsin_refusals", "Answers that tell an error, by its code.", ("dialect", "code"))
        self._faults = Tally("tocsin_faults", "Answers 500: faults of Tocsin's.")
        self.connections = Level("tocsin_http_connections", "Open connections of clients.")
        self._streams = Level("tocsin_streams", "Live streams that are open.")
        self._streams.set(0)
        self._stream_messages = Tally("tocsin_stream_messages", "Messages that streams' readers took.")
        self._stream_ends = Tally("tocsin_stream_ends", "Streams that ended.", ("reason",))

    def _intake(self) -> None:
        self._events = Tally("tocsin_events", "Events that came to be stored.", ("dialect", "result"))
        self._event_bytes = Tally("tocsin_event_data_bytes", "Data of stored events.")
        self._accept_seconds = Spread(
            "tocsin_accept_seconds", "From an event's acceptance by its dialect until it is on the disk.", QUICK_S
        )
        self._accept_batch = Spread("tocsin_accept_batch_events", "Events handed to the store at once.", SIZES)
        self.accept_waiting = Level("tocsin_accept_waiting_events", "Events that wait to be stored.")
        self._condition_failures = Tally("tocsin_condition_failures", "Conditions that could not be evaluated.")

    def _sending(self) -> None:
        self._attempts = Tally("tocsin_attempts", "Attempts made.", ("transport", "outcome", "status"))
        self._attempt_errors = Tally("tocsin_attempt_errors", "Attempts that failed, by why.", ("transport", "error"))
        self._attempt_seconds = Spread(
            "tocsin_attempt_seconds", "From handing an attempt over until its outcome.", SEND_S, ("transport",)
        )
        self._connect_seconds = Spread(
            "tocsin_attempt_connect_seconds", "Until connected, where a connection was made.", SEND_S, ("transport",)
        )
        self._first_attempt_seconds = Spread(
            "tocsin_first_attempt_seconds", "From an event's acceptance until a first attempt began.", WAY_S
        )
        self._delivery_seconds = Spread(
            "tocsin_delivery_seconds", "From an event's acceptance until it was delivered.", WAY_S
        )
        self._finished = Tally("tocsin_deliveries_finished", "Deliveries that ended.", ("transport", "state"))
        self._settled = Tally("tocsin_settlements", "Attempts recorded, and deliveries given back without one.")
        self.settling = Level("tocsin_settlements_waiting", "Outcomes that wait to be recorded.")
        self._breakers = Tally("tocsin_breaker_openings", "Times that a destination was left alone for a while.")
        self.breakers_open = Level("tocsin_breakers_open", "Destinations that are left alone for a while now.")
        self.held = Level("tocsin_deliveries_held", "Deliveries leased by this process, sent or waiting.")
        self.sending = Level("tocsin_attempts_under_way", "Attempts under way.")
        self.outbound = Level("tocsin_outbound_requests", "Requests that the sending process has under way.")

    def _standing(self) -> None:
        self.queue = Level("tocsin_queue_deliveries", "Live deliveries.", ("state",))
        self.oldest_due = Level(
            "tocsin_queue_oldest_due_seconds", "For how long the longest waiting delivery has been due."
        )
        self.destinations = Level("tocsin_destinations", "Destinations of all organisations.", ("state",))
        self.catalog = Level("tocsin_catalog_entries", "What is configured, of all organisations.", ("kind",))
        self.mailbox = Level("tocsin_mailbox_items", "Items that wait in devices' mailboxes.")
        self.store_waiting = Level("tocsin_store_waiting_writes", "Writes that wait for the store.")
        self.store_bytes = Level("tocsin_store_bytes", "Size of the store's files.", ("file",))
        self.store_free = Level("tocsin_store_free_bytes", "Room left on the store's disk.")
        self.writable = Level("tocsin_store_writable", "1 while the store takes writes.")
        self.build = Level("tocsin_build_info", "1; which program this is.", ("version", "python"))

    # -- requests ---------------------------------------------------------------------------------------

    def answered(self, dialect: str, method: str, path: str, status: int) -> None:
        """Count an answer of the route with this method and path."""
        self._requests.add(dialect, f"{method} {path}", str(status))

    def request_timer(self, dialect: str) -> Callable[[float], None]:
        """Return what takes the seconds that each answer of a dialect took."""
        return self._request_seconds.row(dialect).observe

    def refused(self, dialect: str, code: str) -> None:
        """Count an answer that tells an error."""
        self._refusals.add(dialect, code)

    def fault(self) -> None:
        """Count a fault of ours."""
        self._faults.add()

    def streams(self, count: int) -> None:
        """Say how many streams are open."""
        self._streams.set(count)

    def streamed(self, count: int) -> None:
        """Count messages that a stream's reader took."""
        self._stream_messages.add(by=count)

    def stream_ended(self, reason: str) -> None:
        """Count a stream that ended."""
        self._stream_ends.add(reason)

    # -- intake -----------------------------------------------------------------------------------------

    def judged(self, event: Event, result: str, now_ms: int) -> None:
        """Count what became of an event that was to be stored.

        Args:
            result: one of ``RESULTS``.
        """
        counts, key = self._events.counts, (event.dialect, result)
        counts[key] = counts.get(key, 0) + 1
        if result == "stored":
            self._event_bytes.counts[()] += len(event.data)
            self._accept_seconds.observe(_since(event.id, now_ms))

    def batched(self, events: int) -> None:
        """Count a batch of events that was handed to the store."""
        self._accept_batch.observe(events)

    def condition_failed(self) -> None:
        """Count a destination's condition that could not be evaluated."""
        self._condition_failures.add()

    # -- sending ----------------------------------------------------------------------------------------

    def attempted(self, transport: Transport, lease: Lease, outcome: Outcome) -> None:
        """Count an attempt, and how long its event had been on its way."""
        attempt = outcome.attempt
        status = "none" if attempt.status_code is None else _CLASSES[attempt.status_code // 100 % 10]
        if isinstance(outcome, Delivered):
            word = "delivered"
            if not lease.retries_from:  # else somebody had it sent again, however long after
                ended_ms = attempt.started_ms + attempt.duration_ms
                self._delivery_seconds.observe(_since(lease.event.id, ended_ms))
        else:
            word = "deferred" if isinstance(outcome, Deferred) else "rejected"
            if attempt.error_class is not None:
                self._attempt_errors.add(transport, attempt.error_class)
        if not lease.attempts_made:
            self._first_attempt_seconds.observe(_since(lease.event.id, attempt.started_ms))
        counts, key = self._attempts.counts, (transport, word, status)
        counts[key] = counts.get(key, 0) + 1
        rows = self._rows.get(transport)
        if rows is None:
            rows = self._rows[transport] = (
                self._attempt_seconds.row(transport),
                self._connect_seconds.row(transport),
            )
        rows[0].observe(attempt.duration_ms / 1000)
        if attempt.connect_ms is not None:
            rows[1].observe(attempt.connect_ms / 1000)

    def finished(self, transport: Transport, state: DeliveryState) -> None:
        """Count a delivery that ended."""
        counts, key = self._finished.counts, (transport, state)
        counts[key] = counts.get(key, 0) + 1

    def settled(self, count: int) -> None:
        """Count what the engine recorded."""
        self._settled.counts[()] += count

    def breaker_opened(self) -> None:
        """Count a breaker that opened."""
        self._breakers.add()

    # -- the page ---------------------------------------------------------------------------------------

    def store_writable(self, writable: bool) -> None:
        """Say whether the store takes writes."""
        self.writable.set(1 if writable else 0)

    def watch_sender(self, pid: Callable[[], int | None]) -> None:
        """Show the sending process too, as long as there is one."""
        ProcessCollector(namespace="tocsin_sender", pid=lambda: pid() or 0, registry=self.registry)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx", "none", "none", "none", "none")


def _since(event_id: bytes, now_ms: int) -> float:
    """Return the seconds since an event was accepted, which its id tells; 0 when the clock was set back since."""
    return max(0, now_ms - created_ms(event_id)) / 1000
