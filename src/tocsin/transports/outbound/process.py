"""The guarded client in a process of its own.

libcurl calls back into Python for every header line and every socket; in a thread, each such call has to wrest the
interpreter's lock from the event loop, which costs both of them more than the sending itself. In a process of its own
it uses the other core, and a fault of C code takes no event with it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound.messages import Limits, Replied, Reply, Request
from tocsin.transports.outbound.pipe import Pipe
from tocsin.transports.outbound.worker import READY, Answered, Asked, Hello

_START_S = 20.0
_STOP_S = 5.0
_WATCH_S = 2.0
_OVERDUE_S = 10.0
"""How long past its own deadline a request may be before the worker is taken for stuck."""
_RESTART_PAUSE_S = 0.5

_RUN = "from tocsin.transports.outbound.worker import main; main()"

_FULL = Reply(duration_ms=0, error_class=ErrorClass.INTERNAL, error="the outbound client is full", unsent=True)
_AWAY = Reply(duration_ms=0, error_class=ErrorClass.INTERNAL, error="the sending process is away", unsent=True)
_LOST = Reply(duration_ms=0, error_class=ErrorClass.INTERNAL, error="the sending process ended meanwhile")

_read_answered = msgspec.msgpack.Decoder(list[Answered]).decode
_write = msgspec.msgpack.Encoder().encode


class ProcessClient:
    """Sends requests by a worker process; the same promises as ``client.Client``.

    A worker that ends, or does not answer by its requests' deadlines, is replaced; what it had under way is answered
    as failed, since nobody knows how far it came.

    Args:
        policy: which addresses may be reached.
        limits: the bounds, the worker's too.
        clock: for deadlines.
        ca_file: certificate authorities in PEM to trust; the system's when None.
    """

    def __init__(self, policy: AddressPolicy, *, limits: Limits, clock: Clock, ca_file: str | None = None) -> None:
        self._policy = policy
        self._limits = limits
        self._clock = clock
        self._hello = _write(Hello(tuple(str(each) for each in policy.allow), limits, ca_file))
        self._pipe: Pipe | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._under_way: dict[int, tuple[Replied, float]] = {}
        self._number = 0
        self._batch: list[Asked] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def policy(self) -> AddressPolicy:
        """Which addresses may be reached."""
        return self._policy

    @property
    def worker_pid(self) -> int | None:
        """The worker's process id, or None while there is none."""
        return None if self._process is None else self._process.pid

    @property
    def under_way(self) -> int:
        """How many requests were handed to the worker and are not answered yet."""
        return len(self._under_way)

    async def open(self) -> None:
        """Start the worker and wait until it sends.

        Raises:
            OSError: it does not start.
        """
        self._loop = asyncio.get_running_loop()
        await self._start()
        self._watch = self._loop.call_later(_WATCH_S, self._look)

    async def close(self) -> None:
        """Drop what is under way, telling no reply for it, and end the worker."""
        self._closing = True
        self._watch.cancel()
        self._under_way.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._drop_pipe()
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)

    def send(self, request: Request, done: Replied) -> None:
        """Send a request; ``done`` gets its reply. On the event loop only; never blocks."""
        if self._pipe is None or len(self._under_way) >= self._limits.connections_max:
            self._loop.call_soon(done, _AWAY if self._pipe is None else _FULL)
            return
        self._number += 1
        self._under_way[self._number] = (done, self._clock.monotonic_s() + request.timeout_s + _OVERDUE_S)
        self._batch.append((self._number, request))
        if len(self._batch) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if self._pipe is not None:
            self._pipe.write(_write(batch))

    # -- the worker's life ------------------------------------------------------------------------------

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.to_thread(_spawn, theirs)
        self._ready = self._loop.create_future()
        pipe = Pipe(ours, self._answered, self._lost)
        pipe.open()
        pipe.write(self._hello)
        try:
            async with asyncio.timeout(_START_S):
                await self._ready
        except BaseException:
            pipe.close()
            self._process.kill()
            raise
        self._pipe = pipe

    def _answered(self, frame: bytes) -> None:
        if self._ready is not None:
            if not self._ready.done() and frame == READY:
                self._ready.set_result(None)
            self._ready = None
            return
        for number, reply in _read_answered(frame):
            waiting = self._under_way.pop(number, None)
            if waiting is not None:
                self._tell(waiting[0], reply)

    def _tell(self, done: Replied, reply: Reply) -> None:
        try:
            done(reply)
        except Exception as error:  # noqa: BLE001  one receiver of a reply must not cost the others theirs
            self._loop.call_exception_handler({"message": "a reply's receiver failed", "exception": error})

    def _lost(self) -> None:
        """The worker is gone: answer for it, and start another."""
        self._drop_pipe()
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(OSError("the sending process ended as it started"))
            return
        under_way, self._under_way = self._under_way, {}
        for done, _ in under_way.values():
            self._tell(done, _LOST)
        if not self._closing:
            task = self._loop.create_task(self._restart())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _restart(self) -> None:
        while True:
            if self._process is not None:
                await asyncio.to_thread(_end, self._process)
            try:
                await self._start()
            except (OSError, TimeoutError):
                await asyncio.sleep(_RESTART_PAUSE_S)
            else:
                return

    def _look(self) -> None:
        """Replace a worker that answers nothing any more."""
        now_s = self._clock.monotonic_s()
        if self._process is not None and any(overdue_s < now_s for _, overdue_s in self._under_way.values()):
            self._process.kill()
        self._watch = self._loop.call_later(_WATCH_S, self._look)

    def _drop_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None
        self._batch.clear()


def _spawn(theirs: socket.socket) -> subprocess.Popen[bytes]:
    descriptor = theirs.fileno()
    # -P keeps the working directory, which may be anybody's, out of the worker's imports.
    command = [sys.executable, "-P", "-c", _RUN, str(descriptor)]
    return subprocess.Popen(command, pass_fds=(descriptor,), stdin=subprocess.DEVNULL)  # noqa: S603  all our own


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a worker whose socket is closed; end it by force when it does not end by itself."""
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
