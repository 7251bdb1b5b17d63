"""SQLite and PostgreSQL side by side: events accepted and delivered, and what each costs, as ratios within one run.

Both gateways run all the time, each with a dispatcher of its own, and are put under load by turns, so that whatever
else the machine does, it does to both. A row is the median of the rounds, a ratio the median of each round's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench import events
from bench.options import Options, options
from bench.running import Store, conditions, gateway, make_destinations, postgres, progress, server, sqlite
from bench.tables import Row, medians, print_rows, ratios
from bench.traffic import Sink, load
from bench.usage import cpu_s
from gateway import Process

_CONCURRENCY = 64
_SETTLED_S = 0.3
"""What was sent last is settled within that."""

_COLUMNS = {
    "destinations": "Destinations of each event",
    "engine": "Engine",
    "accepted_per_s": "Events accepted in a second",
    "delivered_per_s": "Deliveries in a second",
    "cpu_us_per_event": "CPU for an event, µs",
    "tocsin_us_per_event": "of this, Tocsin's",
    "database_us_per_event": "of this, the database's",
    "answered_p50_ms": "Answered within, median, ms",
    "answered_p99_ms": "p99, ms",
}


class _Side:
    """One engine under measurement.

    Attributes:
        rounds: figures of each round so far.
    """

    def __init__(self, store: Store, process: Process, sink: Sink) -> None:
        self.store = store
        self.rounds: list[dict[str, float]] = []
        self._process = process
        self._sink = sink
        self._key = process.keys["api_key"]
        self._request = events.request(process, "buildable", self._key)

    def add_destinations(self, count: int) -> None:
        make_destinations(self._process, self._key, self._sink.url, count=count, concurrency=_CONCURRENCY)

    def measure(self, given: Options, seconds: float, destinations: int) -> dict[str, float]:
        """Put it under load once, and wait until all is delivered and settled."""
        ours_s, server_s = self._cpu_s()
        arrived, started_s = self._sink.count(), time.monotonic()
        tally = load(
            self._process.base_url,
            self._request,
            connections=given.connections,
            seconds=seconds,
            events_max=given.events_max,
        )
        goal = arrived + tally["accepted"] * destinations
        delivered = self._sink.wait_for(goal) - arrived
        took_s = time.monotonic() - started_s
        time.sleep(_SETTLED_S)
        ours_after_s, server_after_s = self._cpu_s()
        accepted, latencies = max(1, tally["accepted"]), sorted(tally["latencies_ms"]) or [0.0]
        if tally["refused"] or delivered != tally["accepted"] * destinations:
            lost = tally["accepted"] * destinations - delivered
            progress(f"{self.store.name}: {tally['refused']} refused, {lost} not delivered in time")
        ours_us, server_us = ((ours_after_s - ours_s) * 1e6, (server_after_s - server_s) * 1e6)
        return {
            "accepted_per_s": tally["accepted"] / tally["took_s"],
            "delivered_per_s": delivered / took_s,
            "cpu_us_per_event": (ours_us + server_us) / accepted,
            "tocsin_us_per_event": ours_us / accepted,
            "database_us_per_event": server_us / accepted,
            "answered_p50_ms": statistics.median(latencies),
            "answered_p99_ms": latencies[int(len(latencies) * 0.99)],
        }

    def _cpu_s(self) -> tuple[float, float]:
        server_pid = self.store.server_pid
        return cpu_s(self._process.pid), 0.0 if server_pid is None else cpu_s(server_pid)


@contextmanager
def _side(store: Store) -> Iterator[_Side]:
    sink = Sink()
    try:
        with gateway(store) as process:
            yield _Side(store, process, sink)
    finally:
        sink.stop()


def _compare(sides: Sequence[_Side], given: Options, destinations: int) -> Iterator[Row]:
    """Measure the sides by turns; yield a row for each, and the ratios of the later ones to the first."""
    for side in sides:
        side.rounds = []
        side.measure(given, min(1.0, given.seconds), destinations)
    for number in range(given.rounds or 3):
        for side in sides if number % 2 == 0 else reversed(sides):
            side.rounds.append(side.measure(given, given.seconds, destinations))
            accepted = side.rounds[-1]["accepted_per_s"]
            progress(f"{side.store.name}, {destinations} destinations, round {number + 1}: {accepted:,.0f} events/s")
    first = sides[0]
    for side in sides:
        yield {"destinations": str(destinations), "engine": side.store.name, **medians(side.rounds)}
    for side in sides[1:]:
        name = f"{side.store.name} : {first.store.name}"
        yield {"destinations": str(destinations), "engine": name, **ratios(side.rounds, first.rounds)}


def run(given: Options) -> None:
    """Measure, and print the rows."""
    rows: list[Row] = []
    with ExitStack() as stack:
        running = stack.enter_context(server(given.postgres))
        stores = [stack.enter_context(sqlite()), stack.enter_context(postgres(running))]
        below = conditions(*stores)
        sides = [stack.enter_context(_side(each)) for each in stores]
        progress(f"both gateways are ready: {below}")
        rows += _compare(sides, given, 0)
        for side in sides:
            side.add_destinations(1)
        rows += _compare(sides, given, 1)
    title = f"SQLite and PostgreSQL, {given.connections} connections"
    print_rows(rows, as_json=given.as_json, columns=_COLUMNS, title=title, below=below)


def main() -> None:
    """Run the bench alone."""
    run(options(__doc__))
