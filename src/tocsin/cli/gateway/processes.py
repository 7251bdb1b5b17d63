"""Several processes of one gateway: begun, watched, begun again when they end, and ended in order."""

from __future__ import annotations

import asyncio
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import click
import structlog

from tocsin.bootstrap import prepare
from tocsin.cli.exits import FAILED, OK, STORE, USAGE
from tocsin.cli.gateway.listening import reserve
from tocsin.cli.gateway.running import Place, greet, run_one
from tocsin.engine.rows import EngineRefused
from tocsin.settings import Settings, SettingsFault
from tocsin.web.server import ServerLimits

_log = structlog.get_logger("tocsin")

_PAUSE_S = 0.5
"""Before a process that ended is begun again; twice as long each time that it ends soon after."""
_PAUSE_MAX_S = 30.0
_SOON_S = 10.0
_ENDING_S = 10.0
"""What a process may need to end beside the settings' patience."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


def run_several(settings: Settings) -> int:
    """Run as many processes as the settings say until SIGTERM or SIGINT; return the exit status.

    Raises:
        EngineRefused: the store cannot be opened.
        SettingsFault: a setting is refused.
    """
    values = settings.values
    with ExitStack() as stack:
        kept: socket.socket | None = None
        if values.role != "dispatcher":
            kept = stack.enter_context(reserve(values.host, values.port))
        port = 0 if kept is None else kept.getsockname()[1]
        greet(settings, kept, asyncio.run(prepare(settings)))
        limits = settings.limits("server", ServerLimits)
        family = _Family(
            lambda place: run_one(settings, port, place=place),
            count=values.processes,
            # Requests, jobs and attempts have it one after the other.
            patience_s=limits.drain_s + 3 * limits.shutdown_s + _ENDING_S,
        )
        return family.run()


class _Child:
    """A process that runs.

    Attributes:
        ready: the descriptor by which it tells that it is ready; None once it has.
    """

    def __init__(self, number: int, pid: int, ready: int) -> None:
        self.number = number
        self.pid = pid
        self.ready: int | None = ready
        self.begun_s = time.monotonic()


class _Family:
    """Processes that do the same work.

    Args:
        work: what each does, until it is told to end.
        patience_s: how long they may take to end before they are killed.
    """

    def __init__(self, work: Callable[[Place], None], *, count: int, patience_s: float) -> None:
        self._work = work
        self._count = count
        self._patience_s = patience_s
        self._children: dict[int, _Child] = {}
        self._due_s: dict[int, float] = {}
        """When a process that ended is begun again, by its number."""
        self._pauses_s = dict.fromkeys(range(count), _PAUSE_S)
        self._greeted: set[int] | None = set()
        """The numbers of those that are ready; None once all were."""
        self._status = OK
        self._kill_s: float | None = None
        """When what has not ended is killed; None while nothing is to end."""
        self._selector = selectors.DefaultSelector()
        self._lifeline = os.pipe()

    def run(self) -> int:
        """Run until a signal; return the exit status."""
        with _heard_signals() as heard:
            self._selector.register(heard, selectors.EVENT_READ)
            for number in range(self._count):
                self._begin(number)
            while self._children or self._kill_s is None:
                for key, _ in self._selector.select(self._wait_s()):
                    if key.fileobj is heard:
                        self._hear(heard)
                    else:
                        self._note_ready(key.data)
                self._reap()
                self._look_at_the_clock()
        return self._status

    def _wait_s(self) -> float | None:
        times_s = [*self._due_s.values()] if self._kill_s is None else [self._kill_s]
        return max(0.0, min(times_s) - time.monotonic()) if times_s else None

    def _hear(self, heard: socket.socket) -> None:
        numbers = set()
        with suppress(BlockingIOError):
            numbers = set(heard.recv(256))
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            self._end_all()

    def _end_all(self) -> None:
        """Tell all to end; told again, they end at once."""
        if self._kill_s is None:
            self._kill_s = time.monotonic() + self._patience_s
        self._due_s.clear()
        self._signal_all(signal.SIGTERM)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._children:
            # One that has ended is still ours until it is waited for: its id is nobody else's.
            os.kill(pid, number)

    def _look_at_the_clock(self) -> None:
        now_s = time.monotonic()
        if self._kill_s is not None:
            if now_s >= self._kill_s and self._children:
                _log.warning("processes_killed", processes=len(self._children))
                self._status = FAILED
                self._signal_all(signal.SIGKILL)
                self._kill_s = now_s + self._patience_s
            return
        for number in [each for each, due_s in self._due_s.items() if due_s <= now_s]:
            del self._due_s[number]
            self._begin(number)

    # -- one process ------------------------------------------------------------------------------------

    def _begin(self, number: int) -> None:
        ready, telling = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self._be(number, telling)
        os.close(telling)
        child = _Child(number, pid, ready)
        self._children[pid] = child
        self._selector.register(ready, selectors.EVENT_READ, child)
        _log.info("process_begun", number=number, process=pid)

    def _be(self, number: int, telling: int) -> None:
        """Be the process of this number; never returns."""
        status = FAILED
        try:
            # A terminal's Ctrl-C reaches the parent alone, which tells each process once.
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            self._selector.close()
            os.close(self._lifeline[1])

            def ready() -> None:
                os.write(telling, b"1")
                os.close(telling)

            self._work(Place(number=number, lifeline=self._lifeline[0], ready=ready))
            status = OK
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else FAILED
        except SettingsFault as error:
            status = _told(USAGE, error)
        except EngineRefused as error:
            status = _told(STORE, error)
        except BaseException:  # noqa: BLE001  nothing of the parent's may go on in this process
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _note_ready(self, child: _Child) -> None:
        assert child.ready is not None
        is_ready = bool(os.read(child.ready, 1))
        self._forget_pipe(child)
        if is_ready and self._greeted is not None:
            self._greeted.add(child.number)
            if len(self._greeted) == self._count:
                self._greeted = None
                click.echo("Ready.")
                sys.stdout.flush()

    def _forget_pipe(self, child: _Child) -> None:
        if child.ready is not None:
            self._selector.unregister(child.ready)
            os.close(child.ready)
            child.ready = None

    def _reap(self) -> None:
        for child in list(self._children.values()):
            pid, wait_status = os.waitpid(child.pid, os.WNOHANG)
            if pid:
                del self._children[pid]
                self._forget_pipe(child)
                self._ended(child, os.waitstatus_to_exitcode(wait_status))

    def _ended(self, child: _Child, status: int) -> None:
        """See to what follows a process's end.

        Args:
            status: its exit status, or the signal that ended it below 0.
        """
        if self._kill_s is not None:
            if status:
                self._status = self._status or FAILED
            return
        if self._greeted is not None:
            # What keeps the first ones from starting keeps all from it.
            self._status = status if status > 0 else FAILED
            self._end_all()
            return
        pause_s = self._pauses_s[child.number]
        if time.monotonic() - child.begun_s >= _SOON_S:
            pause_s = _PAUSE_S
        _log.error("process_ended", number=child.number, process=child.pid, status=status, again_in_s=pause_s)
        self._due_s[child.number] = time.monotonic() + pause_s
        self._pauses_s[child.number] = min(2 * pause_s, _PAUSE_MAX_S)


def _told(status: int, error: Exception) -> int:
    click.echo(f"tocsin: {error}", err=True)
    return status


@contextmanager
def _heard_signals() -> Iterator[socket.socket]:
    """Return a socket from which the numbers of signals are read that came."""
    heard, telling = socket.socketpair()
    heard.setblocking(False)
    telling.setblocking(False)
    before = {each: signal.signal(each, _ignore) for each in _SIGNALS}
    former = signal.set_wakeup_fd(telling.fileno())
    try:
        yield heard
    finally:
        signal.set_wakeup_fd(former)
        for each, handler in before.items():
            signal.signal(each, handler)
        heard.close()
        telling.close()


def _ignore(_number: int, _frame: object) -> None:
    """Let the signal's number be read from the socket."""
