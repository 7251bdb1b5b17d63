"""What dispatchers add: a backlog on PostgreSQL, taken in by a gateway alone, then drained by one, two and three.

Two receivers: one takes a while to answer, as those across a network do, and each dispatcher has only so many
attempts under way, so that waiting is the bound, which more dispatchers lift; the other answers at once, so that the
CPU is, which they share. The load is over by then: only the dispatchers, the server and the receiver use the machine.
One that sends from within ``tocsin serve`` comes first, for comparison.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import events
from bench.options import Options, options
from bench.running import Store, conditions, gateway, make_destinations, postgres, progress, server
from bench.tables import Row, medians, print_rows, ratios
from bench.traffic import Sink, load
from bench.usage import cpu_s
from engine.postgres_server import PostgresServer
from gateway import Process
from program import Running, running_program

_DESTINATIONS = 8
_FLOWING = 100
"""So many arrivals say that what was started is sending."""
_STEADY_S = 0.5
_START_S = 0.5
"""Of several that start, the first sends for so long before the last does."""
_RATE_MAX_PER_S = 12_000.0
"""What is waiting lasts for the whole time up to this rate of all together."""
_INTAKE_S = 60.0

_COLUMNS = {
    "receiver": "The receiver answers",
    "dispatchers": "Dispatchers",
    "delivered_per_s": "Deliveries in a second",
    "of_one": "of one's",
    "cpu_us_per_delivery": "CPU for a delivery, µs",
    "tocsin_us_per_delivery": "of this, the dispatchers'",
    "database_us_per_delivery": "of this, the database's",
    "cores_busy": "Cores busy with both",
}


@dataclass(frozen=True, slots=True)
class _Receiver:
    """Where the backlog goes.

    Attributes:
        concurrency: attempts that one dispatcher has under way at each destination.
        rate_per_s: what one dispatcher sends at the most.
    """

    name: str
    answers_after_s: float
    concurrency: int
    rate_per_s: float


_RECEIVERS = (
    _Receiver("after 50 ms, 32 at once for each dispatcher", 0.05, 4, 640.0),
    _Receiver("at once", 0.0, 64, _RATE_MAX_PER_S),
)


class _Backlog:
    """What waits to be delivered to one receiver.

    Attributes:
        size: deliveries that were accepted.
    """

    def __init__(self, store: Store, sink: Sink, process: Process, receiver: _Receiver) -> None:
        assert store.server_pid is not None
        self._server_pid = store.server_pid
        self._sink = sink
        self._process = process
        key = process.keys["api_key"]
        make_destinations(process, key, sink.url, count=_DESTINATIONS, concurrency=receiver.concurrency)
        self._request = events.request(process, "buildable", key)
        self.size = 0

    def fill(self, given: Options, deliveries: float) -> None:
        """Take in what is missing from so many."""
        missing = deliveries - (self.size - self._sink.count())
        tally = load(
            self._process.base_url,
            self._request,
            connections=given.connections,
            seconds=_INTAKE_S,
            events_max=max(0, min(given.events_max, round(missing / _DESTINATIONS))),
        )
        self.size += tally["accepted"] * _DESTINATIONS
        progress(f"{self.size - self._sink.count():,} deliveries wait")

    def measure(self, seconds: float, pid: int) -> dict[str, float]:
        """Return how fast a program drains it; zeros where it was drained before."""
        self._sink.wait_for(min(self._sink.count() + _FLOWING, self.size))
        time.sleep(_STEADY_S)
        ours_s, server_s = cpu_s(pid), cpu_s(self._server_pid)
        before, started_s = self._sink.count(), time.monotonic()
        after = before
        while after < self.size and time.monotonic() < started_s + seconds:
            time.sleep(0.02)
            after = self._sink.count()
        took_s, sent = time.monotonic() - started_s, after - before
        if after >= self.size:
            progress("the backlog was drained before the time was over")
        ours_us, server_us = (cpu_s(pid) - ours_s) * 1e6, (cpu_s(self._server_pid) - server_s) * 1e6
        return {
            "delivered_per_s": sent / took_s,
            "cpu_us_per_delivery": (ours_us + server_us) / max(1, sent),
            "tocsin_us_per_delivery": ours_us / max(1, sent),
            "database_us_per_delivery": server_us / max(1, sent),
            "cores_busy": (ours_us + server_us) / 1e6 / took_s,
        }


def _drained(store: Store, given: Options, receiver: _Receiver) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield who drained the backlog, and how fast."""
    with ExitStack() as stack:
        sink = Sink(receiver.answers_after_s)
        stack.callback(sink.stop)
        backlog = _Backlog(store, sink, stack.enter_context(gateway(store, "gateway")), receiver)
        for who, count, draining in _drainers(store, given.dispatchers_max):
            rate_per_s = min(_RATE_MAX_PER_S, receiver.rate_per_s * count)
            backlog.fill(given, rate_per_s * (_START_S + _STEADY_S + given.seconds))
            with draining as process:
                yield who, backlog.measure(given.seconds, process.pid)


def _drainers(
    store: Store, dispatchers_max: int
) -> Iterator[tuple[str, int, AbstractContextManager[Process | Running]]]:
    """Yield who is to drain the backlog, how many dispatchers that are, and how to run them."""
    yield "1, in `serve`", 1, gateway(store)
    for count in range(1, dispatchers_max + 1):
        yield str(count), count, _working(store, count)


@contextmanager
def _working(store: Store, processes: int) -> Iterator[Running]:
    settings = store.settings | {"TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8", "TOCSIN_PROCESSES": str(processes)}
    with (
        tempfile.TemporaryDirectory(prefix="tocsin-bench-") as directory,
        running_program(Path(directory), command="work", settings=settings) as running,
    ):
        yield running


def _measure(running: PostgresServer, given: Options, receiver: _Receiver) -> Iterator[Row]:
    rounds: dict[str, list[dict[str, float]]] = {}
    for _ in range(given.rounds or 1):
        with postgres(running) as store:
            for who, figures in _drained(store, given, receiver):
                rounds.setdefault(who, []).append(figures)
                rate = f"{figures['delivered_per_s']:,.0f} deliveries/s"
                progress(f"the receiver answers {receiver.name}; dispatchers: {who}; {rate}")
    one = rounds["1"]
    for who, each in rounds.items():
        of_one = ratios(each, one)["delivered_per_s"]
        yield {"receiver": receiver.name, "dispatchers": who, **medians(each), "of_one": of_one}


def run(given: Options) -> None:
    """Measure, and print the rows."""
    with server(given.postgres) as running:
        with postgres(running) as store:
            below = conditions(store)
        rows = [row for receiver in _RECEIVERS for row in _measure(running, given, receiver)]
    title = "Dispatchers that drain a backlog on PostgreSQL"
    print_rows(rows, as_json=given.as_json, columns=_COLUMNS, title=title, below=below)


def main() -> None:
    """Run the bench alone."""
    run(options(__doc__))
