"""A way out whose far end a test plays, and the signal by which a test waits for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tocsin.core.delivery import Attempt, Deferred, Delivered, ErrorClass, Exchange, Outcome, Rejected
from tocsin.testing.clock import ManualClock
from tocsin.transports.protocol import Done, Shipment

NOWHERE = "http://127.0.0.1:9/hook"
"""An address that the guard lets pass and that no test ever connects to."""


class Signal:
    """Wakes whoever waits for something to have changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def give(self) -> None:
        """Wake all who wait."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, looked at again at each signal."""
        while not condition():
            await self._changed.wait()

    async def until_found(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Return once the condition holds that takes a look at the store."""
        while True:
            changed = self._changed
            if await condition():
                return
            await changed.wait()


Far = Callable[[Shipment], Outcome | None]
"""What the far end makes of an attempt; None leaves it hanging."""


class Remote:
    """A way out: implements ``transports.protocol.Transport``, the far end of which a test plays.

    Attributes:
        answer: what happens to attempts to destinations that ``answers`` does not name.
        answers: by a destination's name.
        started: all attempts, in the order in which they began.
        under_way: those that hang, oldest first.
        abandoned: whom those would have told that hung when it was closed.
        most_at_once: the highest number of attempts at once, over all.
        most_per_destination: the same for each destination, by its name.
    """

    def __init__(self, signal: Signal, clock: ManualClock) -> None:
        self.answer: Far = self.deliver
        self.answers: dict[str, Far] = {}
        self.started: list[Shipment] = []
        self.under_way: list[tuple[Shipment, Done]] = []
        self.most_at_once = 0
        self.most_per_destination: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._signal = signal
        self._clock = clock
        self.is_open = False
        self.abandoned: list[Done] = []

    async def open(self) -> None:
        self.is_open = True

    async def close(self) -> None:
        self.is_open = False
        self.abandoned = [done for _, done in self.under_way]
        self.under_way.clear()

    def start(self, shipment: Shipment, done: Done) -> None:
        name = shipment.target.destination.name
        self.started.append(shipment)
        self._now[name] += 1
        self.most_at_once = max(self.most_at_once, self._now.total())
        self.most_per_destination[name] = max(self.most_per_destination[name], self._now[name])
        outcome = self.answers.get(name, self.answer)(shipment)
        if outcome is None:
            self.under_way.append((shipment, done))
        else:
            asyncio.get_running_loop().call_soon(self._end, shipment, done, outcome)
        self._signal.give()

    def _end(self, shipment: Shipment, done: Done, outcome: Outcome) -> None:
        if self.is_open:
            self._now[shipment.target.destination.name] -= 1
            done(shipment, outcome)
            self._signal.give()

    def finish(self, outcome: Outcome | None = None, *, name: str | None = None) -> None:
        """End the oldest hanging attempt, or the oldest to a destination."""
        found = next(each for each in self.under_way if name in (None, each[0].target.destination.name))
        self.under_way.remove(found)
        self._end(*found, Delivered(self.attempt(200)) if outcome is None else outcome)

    def sent_to(self, name: str) -> list[Shipment]:
        """Return the attempts to a destination, oldest first."""
        return [each for each in self.started if each.target.destination.name == name]

    def attempt(self, status_code: int | None = 503, **fields: Any) -> Attempt:
        """Return an attempt that ended with this status; a failed one says so."""
        failed = status_code is None or status_code >= 300
        given: dict[str, Any] = {
            "started_ms": self._clock.now_ms(),
            "duration_ms": 1,
            "exchange": Exchange(request_line=f"POST {NOWHERE}"),
            "status_code": status_code,
            "error_class": ErrorClass.STATUS if failed else None,
            "error": f"remote answered {status_code}" if failed else None,
        }
        return Attempt(**(given | fields))

    def deliver(self, _: Shipment) -> Outcome:
        """Answer 200."""
        return Delivered(self.attempt(200))

    def fail(self, _: Shipment) -> Outcome:
        """Answer 503."""
        return Deferred(self.attempt(503))

    def gone(self, _: Shipment) -> Outcome:
        """Answer 410."""
        return Rejected(self.attempt(410), disable=True)

    def hang(self, _: Shipment) -> Outcome | None:
        """Answer nothing."""
        return None
