"""What arrived at a fake: every request with its time, and a way to wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

KEPT_MAX = 2_000
"""How many requests, messages or mails a fake keeps, the last ones; all are counted."""


class Received(msgspec.Struct, kw_only=True):
    """A request as it arrived.

    Attributes:
        at_s: when it had arrived whole, on the monotonic clock.
        method: of HTTP; ``MAIL`` for a mail.
        target: path and query; for a mail who sends it.
        headers: in order, names in lower case.
        status: what it was answered; None while it is not, or when the connection was cut.
    """

    at_s: float
    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    status: int | None = None

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None; case does not count."""
        return next((value for key, value in self.headers if key == name.lower()), None)


class Arrivals:
    """The requests of one fake.

    Attributes:
        count: how many there were since the start.
        version: rises with everything that happens at the fake.
    """

    def __init__(self) -> None:
        self.count = 0
        self.version = 0
        self._requests: deque[Received] = deque(maxlen=KEPT_MAX)
        self._changed = threading.Condition()
        self._waiting: set[asyncio.Event] = set()
        self._watchers: list[Callable[[], None]] = []

    @property
    def requests(self) -> Sequence[Received]:
        """The last requests, in order."""
        return list(self._requests)

    def last(self, count: int) -> list[Received]:
        """Return the last requests, newest first."""
        return list(islice(reversed(self._requests), count))

    def add(self, received: Received) -> None:
        """Note a request."""
        self.count += 1
        self._requests.append(received)
        self.changed()

    def clear(self) -> None:
        """Forget what was kept; it stays counted."""
        self._requests.clear()
        self.changed()

    def changed(self) -> None:
        """Tell everybody who waits that something happened."""
        self.version += 1
        with self._changed:
            self._changed.notify_all()
        for event in self._waiting:
            event.set()
        for watcher in self._watchers:
            watcher()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have a function called at every change, on the fake's event loop."""
        self._watchers.append(watcher)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds, which is looked at after every change; on the fake's event loop."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while not condition():
                await event.wait()
                event.clear()
        finally:
            self._waiting.discard(event)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Return whether the condition came to hold within the time; from another thread."""
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)
