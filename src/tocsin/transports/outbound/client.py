"""The event loop's side of the outbound client."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Resolve, system_resolve
from tocsin.transports.outbound.messages import Limits, Replied, Reply, Request
from tocsin.transports.outbound.sender import Job, Replies, Sender

_FULL = Reply(duration_ms=0, error_class=ErrorClass.INTERNAL, error="the outbound client is full", unsent=True)
_CLOSED = Reply(duration_ms=0, error_class=ErrorClass.INTERNAL, error="the outbound client is closed", unsent=True)


class Client:
    """Sends requests to addresses that others chose, and lets none of them do harm.

    No address outside the policy is connected to, whatever its notation and whatever its name resolves to. Every
    request ends by its deadline, keeps at most 16 KiB of the answer, follows no redirect, decompresses nothing,
    and uses no proxy, no cookie and no credential of its environment. HTTP/1.1 only, connections are kept.

    A thread of its own runs libcurl, whose C code runs beside the event loop. Requests of one turn of the loop go to
    it as one batch with at most one wake-up, and its replies come back the same way.

    Args:
        policy: which addresses may be reached.
        limits: the bounds.
        ca_file: certificate authorities in PEM to trust; the system's when None.
        resolve: looks names up; runs in threads.
        monotonic_s: the clock for deadlines and durations.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        limits: Limits | None = None,
        ca_file: str | None = None,
        resolve: Resolve = system_resolve,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._limits = limits if limits is not None else Limits()
        self._ca_file = ca_file
        self._resolve = resolve
        self._monotonic_s = monotonic_s
        self._sender: Sender | None = None
        self._batch: list[Job] = []
        self._under_way = 0
        self._replies: deque[Replies] = deque()
        self._collecting = False

    @property
    def policy(self) -> AddressPolicy:
        """Which addresses may be reached."""
        return self._policy

    async def open(self) -> None:
        """Start the thread; called once, on the event loop, before the first ``send``."""
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        ca_file = self._ca_file if self._ca_file is not None else await asyncio.to_thread(system_ca_file)
        self._sender = Sender(
            self._policy, self._limits, self._resolve, ca_file, self._monotonic_s, self._deliver, self._on_stopped
        )
        self._sender.start()

    async def close(self) -> None:
        """Drop what is under way, telling no reply for it, and release every connection.

        Returns within ``close_s`` even if the thread does not end; it does not keep the process alive then.
        """
        if self._sender is None:
            return
        sender, self._sender = self._sender, None
        self._replies.clear()
        sender.stop()
        try:
            async with asyncio.timeout(self._limits.close_s):
                await self._stopped.wait()
        except TimeoutError:
            return

    def send(self, request: Request, done: Replied) -> None:
        """Send a request; ``done`` gets its reply. On the event loop only.

        Never blocks. A request beyond ``connections_max`` is not kept waiting: its reply says at once that it was not
        sent.
        """
        if self._sender is None or self._under_way >= self._limits.connections_max:
            self._loop.call_soon(done, _CLOSED if self._sender is None else _FULL)
            return
        self._under_way += 1
        self._batch.append((request, done))
        if len(self._batch) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if self._sender is None:
            return
        self._sender.inbox.append(batch)
        if self._sender.asleep:
            self._sender.ring()

    def _deliver(self, replies: Replies) -> None:
        """Bring replies to the event loop; called in the thread."""
        self._replies.append(replies)
        if self._collecting:
            return
        self._collecting = True
        try:
            self._loop.call_soon_threadsafe(self._collect)
        except RuntimeError:
            return  # the loop is closed, so nobody waits any more

    def _collect(self) -> None:
        self._collecting = False
        while self._replies:
            for done, reply in self._replies.popleft():
                self._under_way -= 1
                if self._sender is None:
                    continue
                try:
                    done(reply)
                except Exception as error:  # noqa: BLE001  one receiver of a reply must not cost the others theirs
                    context = {"message": "a reply's receiver failed", "exception": error}
                    self._loop.call_exception_handler(context)

    def _on_stopped(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._ended)
        except RuntimeError:
            return  # the loop is closed

    def _ended(self) -> None:
        """Note that the thread has ended; when nobody asked it to, answer what it did not take any more."""
        self._stopped.set()
        if self._sender is None:
            return
        sender, self._sender = self._sender, None
        for batch in sender.inbox:
            for _, done in batch:
                done(_CLOSED)


def system_ca_file() -> str | None:
    """Return the file with the certificate authorities that the system trusts, else certifi's, else None."""
    paths = ssl.get_default_verify_paths()
    for path in (paths.cafile, paths.openssl_cafile):
        if path and Path(path).is_file():
            return path
    try:
        return str(import_module("certifi").where())
    except ImportError:
        return None
