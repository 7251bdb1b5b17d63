"""With a standby: what is acknowledged is on both servers, and the gateway goes over to the one that takes writes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from engine.postgres_server import PLAY_MAX_S, postgres_factory, postgres_settings, unmade_server
from engine.standby import Pair, running_pair, until
from gateway import Answer, Process
from program import Running, run_program, running_program
from tocsin.core.errors import Unavailable
from tocsin.core.event import Event
from tocsin.engine.postgres import PostgresEngine
from tocsin.engine.postgres.urls import urls_of_servers
from tocsin.engine.rows import Accepted, Durability, EngineRefused, Repeated
from tocsin.testing.clock import ManualClock
from tocsin.testing.engine_contract import Stage

_WRITERS = 4
_ACKED_BEFORE = 120
_ACKED_AFTER = 40
_WRITE_MAX_S = 4.0

_STUCK = "select pid from pg_stat_activity where wait_event = 'SyncRep' and datname = $1"


@pytest.fixture(scope="module")
def lasting() -> Iterator[Pair]:
    """A pair whose commits wait for the standby; tests leave both servers running."""
    with running_pair(is_synchronous=True) as pair:
        yield pair


@pytest.fixture(name="synchronous")
def _synchronous(lasting: Pair) -> Iterator[Pair]:
    """The same with an empty database."""
    with lasting.primary.database() as lasting.database:
        lasting.wait_until_it_streams()
        yield lasting


def _settings(pair: Pair, **more: str) -> dict[str, str]:
    return {
        "TOCSIN_DATABASE": pair.dsn,
        "TOCSIN_SECRET_KEY": "11" * 32,
        "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
        "TOCSIN_POSTGRES_CONNECTIONS": "6",
        "TOCSIN_LOG_FORMAT": "json",
    } | more


def _ask(running: Running, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return Process(Path(), base_url=running.base_url).request(method, path, body, **options)


def _key(running: Running) -> str:
    (line,) = (each for each in running.out.splitlines() if each.startswith("API key"))
    return line.rpartition(" ")[2]


def _emit(running: Running, key: str, number: int) -> Answer:
    headers = {"X-Buildable-Secret": key, "Idempotency-Key": f"number {number}"}
    return _ask(running, "POST", "/emit", {"event": "load", "payload": {"number": number}}, headers=headers)


class _Load:
    """Clients that store events, and repeat what is not acknowledged until it is.

    Attributes:
        acked: the events that were acknowledged, by the client's own number.
        told: the statuses that clients got.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._key = _key(running)
        self._changed = threading.Condition()
        self._ends = False
        self._numbers = iter(range(10**9))
        self.acked: dict[int, str] = {}
        self.told: set[int] = set()

    def wait_for(self, count: int) -> None:
        """Return once so many are acknowledged."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.acked) >= count, PLAY_MAX_S), self.told

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Run the clients; in the end each waits for its last event, unless it is given up."""
        with ThreadPoolExecutor(_WRITERS) as pool:
            writers = [pool.submit(self._write) for _ in range(_WRITERS)]
            try:
                yield
            finally:
                self._ends = True
            for writer in writers:
                writer.result()

    def _write(self) -> None:
        while not self._ends:
            with self._changed:
                number = next(self._numbers)
            while not self._store(number) and not self._ends:
                pass

    def _store(self, number: int) -> bool:
        with suppress(OSError, HTTPException):
            answer = _emit(self._running, self._key, number)
            self.told.add(answer.status)
            if answer.status == 200:
                with self._changed:
                    self.acked[number] = answer.json["key"]
                    self._changed.notify_all()
                return True
        return False


def _lose_the_primary(pair: Pair, directory: Path, *, is_followed: bool) -> tuple[set[str], list[str], _Load, str]:
    """Kill the primary for good under load, and let the standby take over.

    Args:
        is_followed: whether the standby is there when the load begins; otherwise it is only in the end.

    Returns: the events acknowledged before it was killed; all that are there in the end; the load; and what
    ``GET /ready`` said of durability at first.
    """
    with running_program(directory, settings=_settings(pair)) as running:
        # What the start stored may be on its way still.
        pair.wait_until_it_streams("sync" if is_followed else "async")
        if not is_followed:
            pair.standby.stop()
        ready = _ask(running, "GET", "/ready").json
        load = _Load(running)
        with load.going_on():
            load.wait_for(_ACKED_BEFORE)
            pair.primary.kill()
            before = dict(load.acked)
            if not is_followed:
                pair.standby.start()
            pair.promote()
            # Nobody tells the gateway; the same process goes on with the other server.
            load.wait_for(len(before) + _ACKED_AFTER)
        until(lambda: _ask(running, "GET", "/ready").status == 200)
        assert _ask(running, "GET", "/ready").json["durability"] == "fsync"
    rows = pair.standby.execute("select encode(id, 'hex') from event", database=pair.database)[0]
    return set(before.values()), [row[0] for row in rows], load, ready["durability"]


@pytest.mark.acceptance
def test_what_was_acknowledged_is_on_the_standby_that_takes_over(tmp_path: Path) -> None:
    with running_pair(is_synchronous=True) as pair:
        before, found, load, durability = _lose_the_primary(pair, tmp_path, is_followed=True)
    assert durability == "replicated"
    assert len(before) >= _ACKED_BEFORE
    assert before <= set(found)
    assert set(load.acked.values()) <= set(found)
    # Nor is anything there twice: each client's repeats came to one event.
    assert len(found) <= len(load.acked) + _WRITERS
    assert load.told <= {200, 503}


@pytest.mark.acceptance
def test_a_standby_that_nobody_waits_for_lacks_some(tmp_path: Path) -> None:
    """The test above can fail: and this is what ``fsync`` says."""
    with running_pair(is_synchronous=False) as pair:
        before, found, _, durability = _lose_the_primary(pair, tmp_path, is_followed=False)
    assert durability == "fsync"
    assert before - set(found)


@pytest.mark.acceptance
def test_while_the_standby_is_away_nothing_is_acknowledged_and_reads_go_on(synchronous: Pair, tmp_path: Path) -> None:
    settings = _settings(synchronous, TOCSIN_POSTGRES_WRITE_MAX_S=str(_WRITE_MAX_S))
    with running_program(tmp_path, settings=settings) as running:
        key = _key(running)
        assert _emit(running, key, 1).status == 200
        synchronous.standby.stop()
        try:
            for _ in range(2):
                refused = _emit(running, key, 2)
                assert refused.status == 503
                assert int(refused.headers["retry-after"]) >= 1
            ready = _ask(running, "GET", "/ready")
            assert ready.status == 503
            assert _ask(running, "GET", "/api/v1/events", key=key).status == 200
        finally:
            synchronous.standby.start()
        synchronous.wait_until_it_streams()
        until(lambda: _ask(running, "GET", "/ready").status == 200)
        assert _emit(running, key, 2).status == 200
        events = _ask(running, "GET", "/api/v1/events", key=key).json["events"]
        assert len(events) == 2


@pytest.mark.acceptance
def test_the_operator_may_go_on_without_the_standby(synchronous: Pair, tmp_path: Path) -> None:
    settings = _settings(synchronous, TOCSIN_POSTGRES_WRITE_MAX_S=str(_WRITE_MAX_S))
    with running_program(tmp_path, settings=settings) as running:
        key = _key(running)
        synchronous.standby.stop()
        try:
            assert _emit(running, key, 3).status == 503
            # As the page has it.
            synchronous.primary.execute("alter system set synchronous_standby_names = ''", "select pg_reload_conf()")
            until(lambda: _ask(running, "GET", "/ready").status == 200)
            until(lambda: _ask(running, "GET", "/ready").json["durability"] == "fsync")
            assert _emit(running, key, 3).status == 200
        finally:
            synchronous.standby.start()
            synchronous.wait_for_the_standby(is_synchronous=True)
        until(lambda: _ask(running, "GET", "/ready").status == 200)
        assert _ask(running, "GET", "/ready").json["durability"] == "replicated"


# -- what the engine promises ------------------------------------------------------------------------------


def _engine(pair: Pair, **settings: Any) -> Any:
    return postgres_factory(pair.primary.dsn(pair.database), listens=False, **settings)


def test_a_repeat_of_what_is_on_one_server_alone_is_not_acknowledged(synchronous: Pair) -> None:
    async def run() -> None:
        stage = Stage(_engine(synchronous, write_max_s=_WRITE_MAX_S))
        await stage.open()
        new = stage.new(keys=[stage.key("k")])
        await asyncio.to_thread(synchronous.standby.stop)
        try:
            with pytest.raises(Unavailable):
                await stage.judge(new)
            # The primary has it all the same: its wait was broken off.
            assert await _found(stage, new.event) == [new.event]
            with pytest.raises(Unavailable):
                await stage.judge(stage.new(keys=[stage.key("k")]))
        finally:
            await asyncio.to_thread(synchronous.standby.start)
        await asyncio.to_thread(synchronous.wait_until_it_streams)
        assert await stage.judge(stage.new(keys=[stage.key("k")])) == [Repeated(new.event.id)]
        await stage.close()

    asyncio.run(run())


async def _found(stage: Stage, event: Event) -> list[Event | None]:
    async with asyncio.timeout(PLAY_MAX_S):
        while (found := await stage.engine.find(Event, stage.organisation, [event.id])) == [None]:
            pass
    return found


def test_a_commit_whose_wait_somebody_breaks_off_is_not_acknowledged_before_the_standby_has_it(
    synchronous: Pair,
) -> None:
    async def run() -> None:
        stage = Stage(_engine(synchronous))
        await stage.open()
        new = stage.new()
        await asyncio.to_thread(synchronous.standby.stop)
        operator = await asyncpg.connect(synchronous.primary.dsn(synchronous.database))
        storing = asyncio.create_task(stage.judge(new))
        try:
            async with asyncio.timeout(PLAY_MAX_S):
                for _ in range(2):
                    while not (pid := await operator.fetchval(_STUCK, synchronous.database)):
                        assert not storing.done()
                    # As one does who sees transactions hang.
                    await operator.execute("select pg_cancel_backend($1)", pid)
                    while await operator.fetchval(_STUCK, synchronous.database) == pid:
                        assert not storing.done()
            assert not storing.done()
        finally:
            await operator.close()
            await asyncio.to_thread(synchronous.standby.start)
        (accepted,) = await storing
        assert isinstance(accepted, Accepted)
        assert accepted.event == new.event
        await stage.close()

    asyncio.run(run())


def test_whether_a_commit_waits_is_told_as_the_server_has_it_now(synchronous: Pair) -> None:
    async def run() -> None:
        async with _engine(synchronous)(ManualClock()) as engine:
            assert (await engine.probe()).durability is Durability.REPLICATED

    asyncio.run(run())


def test_a_standby_alone_is_refused_with_words(synchronous: Pair, tmp_path: Path) -> None:
    async def refusal(dsn: str) -> str:
        engine = PostgresEngine(postgres_settings(dsn), clock=ManualClock())
        with pytest.raises(EngineRefused) as refused:
            await engine.open()
        return str(refused.value)

    alone = synchronous.standby.dsn(synchronous.database)
    assert "is a standby that takes no writes; name the primary" in asyncio.run(refusal(alone))
    nowhere = alone.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1")
    assert "no server of those in --database takes writes; promote" in asyncio.run(refusal(nowhere))
    done = run_program(
        "serve", "--port", "0", settings=_settings(synchronous, TOCSIN_DATABASE=alone), directory=tmp_path
    )
    assert (done.status, "is a standby" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("postgresql://u:p%2Fw@db1/d", ["postgresql://u:p%2Fw@db1/d"]),
        (
            "postgresql://u:p%2Fw@db1:1,[::2]/d?sslrootcert=/c.pem",
            [
                "postgresql://u:p%2Fw@db1:1/d?target_session_attrs=read-write&sslrootcert=/c.pem",
                "postgresql://u:p%2Fw@[::2]/d?target_session_attrs=read-write&sslrootcert=/c.pem",
            ],
        ),
        (
            "postgresql://u@/d?host=db1,db2&port=1,2&target_session_attrs=primary",
            [
                "postgresql://u@/d?target_session_attrs=primary&host=db1&port=1",
                "postgresql://u@/d?target_session_attrs=primary&host=db2&port=2",
            ],
        ),
        ("postgresql://u@/d?host=/run,/tmp&port=1,2,3", ["postgresql://u@/d?host=/run,/tmp&port=1,2,3"]),
    ],
)
def test_each_server_that_a_url_names_is_asked_on_its_own(url: str, servers: list[str]) -> None:
    assert urls_of_servers(url) == servers


def test_a_server_that_hangs_does_not_keep_from_the_one_that_answers(synchronous: Pair) -> None:
    """A machine that is switched off refuses no connection: the driver alone would wait for it all its time."""

    async def run(dsn: str) -> None:
        async with asyncio.timeout(PLAY_MAX_S):
            settings = postgres_settings(dsn, connect_max_s=4.0, listens=False)
            engine = PostgresEngine(settings, clock=ManualClock())
            await engine.open()
            assert (await engine.probe()).engine == "postgresql"
            await engine.close()

    with unmade_server(fsync="off") as other:
        other.make()
        other.start()
        with other.frozen():
            hosts = f"127.0.0.1:{other.port},127.0.0.1:{synchronous.primary.port}"
            asyncio.run(run(f"postgresql://tocsin@{hosts}/{synchronous.database}"))


def test_a_primary_that_hangs_is_left_for_the_standby_that_takes_over() -> None:
    async def run(pair: Pair) -> None:
        stage = Stage(postgres_factory(pair.dsn, connect_max_s=4.0, write_max_s=_WRITE_MAX_S))
        await stage.open()
        # Whoever has just begun to listen looks once.
        await stage.engine.wait(PLAY_MAX_S)
        before = stage.new(keys=[stage.key("before")])
        await stage.store(before)
        await asyncio.to_thread(pair.wait_until_it_streams, "async")
        with pair.primary.frozen():
            await asyncio.to_thread(pair.promote)
            async with asyncio.timeout(1.5 * PLAY_MAX_S):
                # Nothing rings: it listens anew, to the other one.
                await stage.engine.wait(3600)
                while True:
                    with suppress(Unavailable):
                        (accepted,) = await stage.judge(stage.new(keys=[stage.key("after")]))
                        break
            assert isinstance(accepted, Accepted | Repeated)
            assert await stage.judge(stage.new(keys=[stage.key("before")])) == [Repeated(before.event.id)]
            await stage.close()

    with running_pair(is_synchronous=False) as pair:
        asyncio.run(run(pair))
