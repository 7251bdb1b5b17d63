"""Searches of events in a small store and in a large one: p50 and p95, and how many times slower the large is.

Both stores are filled through the engine with the same mixture at the same rate, one event every 100 ms of their own
clock: mostly delivered, a little of everything else. Figures are of whole calls of ``search`` for pages of 50, once
without and once with the total, which is counted to 10,000 or to the engine's bound on its time. Searches marked *
find too little to fill a page without going through what does not match; in the large store they are cut off at the
engine's bounds, and that is what their figures show.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tocsin.core.delivery import Attempt, DeliveryState, EventStatus, Exchange, NewDelivery
from tocsin.core.destination import Filter
from tocsin.core.event import Dialect, Environment, Event, Severity
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DeliveryId, DestinationId, EventId, IdSequence, bucket_of
from tocsin.engine.rows import Accepted, EventQuery, Finished, NewEvent, RetryAt, Settlement
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.testing.clock import ManualClock

_BATCH = 1_000
_EVERY_MS = 100
_PAGE = 50
_WINDOW_MS = 900_000
_WORDS = ["alpha", "beta", "gamma", "delta", "invoice", "parcel", "customer", "warehouse", "refund", "berlin"]


class Filling:
    """Makes events, a little of everything among them."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._random = random.Random(11)  # the same in every run
        self._ids = IdSequence(self._random.randbytes)
        self.destinations = [DestinationId(self._ids.make(1)) for _ in range(20)]
        self._texts = [" ".join(self._random.choices(_WORDS, k=40)) for _ in range(500)]
        self.made = 0

    def new(self) -> NewEvent:
        """Return one more event, with its deliveries."""
        self.made += 1
        self._clock.advance_ms(_EVERY_MS)
        chance, now_ms = self._random.random, self._clock.now_ms()
        data = {"order": self.made, "note": self._texts[self.made % 500], "flag": "RARE" if self._rare() else "usual"}
        event = Event(
            id=EventId(self._ids.make(now_ms)),
            organisation_id=DEFAULT_ORGANISATION,
            dialect=Dialect.CLOUDEVENTS if self._rare() else (Dialect.PUSHGO, Dialect.BUILDABLE)[self.made % 2],
            source=f"shop/{self.made % 200}",
            type="stock.lost" if self._rare() else f"order.{self.made % 40}",
            subject=f"customer-{self.made % 5000}",
            severity=None if self.made % 2 else (Severity.CRITICAL if chance() < 0.005 else Severity.NORMAL),
            environment=Environment.TEST if self._rare() else Environment.LIVE,
            time_ms=now_ms,
            data=json.dumps(data).encode(),
        )
        if self._rare():
            return NewEvent(event=event)
        number = 19 if self._rare() else int(chance() ** 2 * 19)
        delivery_id = DeliveryId(self._ids.make(now_ms, bucket_of(event.id)))
        delivery = NewDelivery(id=delivery_id, destination_id=self.destinations[number], leased=True)
        return NewEvent(event=event, deliveries=(delivery,))

    def outcome(self) -> tuple[Attempt, Finished | RetryAt] | None:
        """Return what becomes of a delivery; None leaves it under way."""
        if self._rare():
            return None
        exchange = Exchange(request_line="POST https://receiver.example/hook")
        lucky = self._random.random()
        if lucky > 0.99:
            attempt = Attempt(started_ms=1, duration_ms=1, exchange=exchange, status_code=503, error="busy")
            later = RetryAt(self._clock.now_ms() + 10**9)
            return attempt, later if lucky > 0.999 else Finished(DeliveryState.EXPIRED)
        return Attempt(started_ms=1, duration_ms=1, exchange=exchange, status_code=200), Finished(
            DeliveryState.DELIVERED
        )

    def _rare(self) -> bool:
        """Return True once in a thousand."""
        return self._random.random() < 0.001


async def _fill(engine: SqliteEngine, clock: ManualClock, events: int) -> Filling:
    filling = Filling(clock)
    while filling.made < events:
        new = [filling.new() for _ in range(min(_BATCH, events - filling.made))]
        results = await engine.accept(new, lease_until_ms=2**42)
        leases = [lease for each in results if isinstance(each, Accepted) for lease in each.leases]
        outcomes = [(lease, filling.outcome()) for lease in leases]
        await engine.settle([Settlement(lease, each[0], each[1]) for lease, each in outcomes if each is not None])
    return filling


def _queries(filling: Filling, now_ms: int) -> dict[str, dict[str, Any]]:
    """Return the searches by name; a page from the middle begins at the id under ``cursor``."""
    main, rare = filling.destinations[0], filling.destinations[19]
    recent = now_ms - _WINDOW_MS
    return {
        "everything": {},
        "everything, both environments": {"environment": None},
        "environment=test (rare)": {"environment": Environment.TEST},
        "type, exact": {"filter": Filter(types=("order.7",))},
        "type, rare": {"filter": Filter(types=("stock.lost",))},
        "type=order.*": {"filter": Filter(types=("order.*",))},
        "type=stock.*": {"filter": Filter(types=("stock.*",))},
        "type=*.7": {"filter": Filter(types=("*.7",))},
        "three types": {"filter": Filter(types=("order.1", "order.2", "stock.lost"))},
        "source, exact": {"filter": Filter(sources=("shop/17",))},
        "source=shop/1*": {"filter": Filter(sources=("shop/1*",))},
        "subject, exact": {"filter": Filter(subjects=("customer-17",))},
        "subject=customer-1* (thousands)": {"filter": Filter(subjects=("customer-1*",))},
        "dialect": {"filter": Filter(dialects=(Dialect.PUSHGO,))},
        "dialect, rare": {"filter": Filter(dialects=(Dialect.CLOUDEVENTS,))},
        "severity": {"filter": Filter(severities=(Severity.NORMAL,))},
        "severity=critical (rare)": {"filter": Filter(severities=(Severity.CRITICAL,))},
        **{f"status={each}": {"status": each} for each in EventStatus},
        "destination": {"destination_id": main},
        "destination, rare": {"destination_id": rare},
        "destination + type": {"destination_id": main, "filter": Filter(types=("order.7",))},
        "rare destination + type": {"destination_id": rare, "filter": Filter(types=("order.7",))},
        "status=EXPIRED + type": {"status": EventStatus.EXPIRED, "filter": Filter(types=("order.7",))},
        "status=DELIVERED + source": {"status": EventStatus.DELIVERED, "filter": Filter(sources=("shop/17",))},
        "status=EXPIRED + destination": {"status": EventStatus.EXPIRED, "destination_id": main},
        "severity + type": {"filter": Filter(severities=(Severity.NORMAL,), types=("order.8",))},
        "the last quarter of an hour": {"since_ms": recent},
        "q, in every event": {"text": "usual"},
        "q, one in a thousand, a quarter of an hour": {"text": "rare", "since_ms": recent},
        "q, nowhere, a quarter of an hour": {"text": "nowhere", "since_ms": recent},
        "q, one in a thousand *": {"text": "rare"},
        "q, nowhere *": {"text": "nowhere"},
        "rare environment + rare dialect *": {
            "environment": Environment.TEST,
            "filter": Filter(dialects=(Dialect.CLOUDEVENTS,)),
        },
    }


class Figure(msgspec.Struct, frozen=True):
    """What one search took, in milliseconds, and what it found."""

    page: tuple[float, float]
    total: tuple[float, float]
    found: str


async def _measure(engine: SqliteEngine, query: EventQuery, repeats: int) -> Figure:
    page = await engine.search(query, limit=_PAGE)
    told = f"{len(page.rows)} of {page.total}{'' if page.total_is_exact else '+'}{' partial' if page.partial else ''}"
    uncounted = msgspec.structs.replace(query, counted=False)
    return Figure(await _times(engine, uncounted, repeats), await _times(engine, query, repeats), told)


async def _times(engine: SqliteEngine, query: EventQuery, repeats: int) -> tuple[float, float]:
    """Return p50 and p95 in milliseconds."""
    taken: list[float] = []
    for _ in range(repeats):
        start_s = time.perf_counter()
        await engine.search(query, limit=_PAGE)
        taken.append((time.perf_counter() - start_s) * 1000)
    taken.sort()
    return statistics.median(taken), taken[int(len(taken) * 0.95)]


@asynccontextmanager
async def _store(directory: Path, events: int) -> AsyncIterator[tuple[SqliteEngine, dict[str, EventQuery]]]:
    """Yield a store with so many events, and the searches in it."""
    clock = ManualClock()
    # Filled without fsync, which no search sees.
    settings = SqliteSettings(directory=directory / str(events), synchronous="off", patience_s=0.0)
    engine = SqliteEngine(settings, clock=clock, on_fatal=print)
    await engine.open()
    try:
        start_s = time.perf_counter()
        filling = await _fill(engine, clock, events)
        print(f"{events} events stored in {time.perf_counter() - start_s:.0f} s", flush=True)
        usual: dict[str, Any] = {"environment": Environment.LIVE, "with_data": False}
        named = _queries(filling, clock.now_ms()).items()
        yield (
            engine,
            {name: EventQuery(organisation_id=DEFAULT_ORGANISATION, **(usual | given)) for name, given in named},
        )
    finally:
        await engine.close()


async def _run(directory: Path, small_events: int, large_events: int, repeats: int) -> None:
    sizes = f"{small_events} | {large_events}"
    async with (
        _store(directory, small_events) as (small, in_small),
        _store(directory, large_events) as (large, in_large),
    ):
        print(f"\n| Search (p50, p95 ms) | Page: {sizes} | p95 ratio | With total: {sizes} | p95 ratio | Found |")
        print("|" + "---|" * 8)
        for name, query in in_small.items():
            # One right after the other: whatever else the machine does, it does to both.
            times = 5 if name.endswith("*") else repeats
            little = await _measure(small, query, times)
            much = await _measure(large, in_large[name], times)
            page, total = _compared(little.page, much.page), _compared(little.total, much.total)
            print(f"| {name} | {page} | {total} | {much.found} |", flush=True)


def _compared(little: tuple[float, float], much: tuple[float, float]) -> str:
    shown = " | ".join(f"{p50_ms:.2f}, {p95_ms:.2f}" for p50_ms, p95_ms in (little, much))
    return f"{shown} | {much[1] / little[1]:.1f}"


def main() -> None:
    """Measure both stores, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000, help="events in the small store (default 10000)")
    parser.add_argument("--large", type=int, default=1_000_000, help="events in the large store (default 1000000)")
    parser.add_argument("--repeats", type=int, default=60, help="calls for each figure (default 60)")
    parser.add_argument("--directory", type=Path, help="where to make them; the system's temporary one by default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-", dir=arguments.directory) as directory:
        uvloop.run(_run(Path(directory), arguments.small, arguments.large, arguments.repeats))


if __name__ == "__main__":
    main()
