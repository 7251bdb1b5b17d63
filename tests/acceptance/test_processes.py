"""Several processes on one PostgreSQL: gateways and dispatchers, any of which may be killed."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.postgres_server import PostgresServer, running_server
from gateway import Answer, Process, Receiver
from program import Running, run_program, running_program
from wire import request, wire

pytestmark = pytest.mark.acceptance

END_S = 20.0
KEY = "11" * 32
EVENTS = 60
REPLAYED = 40
LEASE_MS = 7000


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PostgresServer]:
    """A server that does not wait for the disk: no power is lost here."""
    with running_server(fsync="off") as server:
        yield server


@pytest.fixture(name="settings")
def _settings(server: PostgresServer) -> Iterator[dict[str, str]]:
    """Settings of processes that share an empty database."""
    with server.database() as name:
        yield {
            "TOCSIN_DATABASE": server.dsn(name),
            "TOCSIN_SECRET_KEY": KEY,
            "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
            "TOCSIN_POSTGRES_CONNECTIONS": "6",
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_LOG_FORMAT": "json",
        }


class Held(Receiver):
    """A receiver that answers once it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        super().__init__()
        # Whoever is killed meanwhile is not there for its answer.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]

    def status_for(self, path: str) -> int:
        """Wait, then answer."""
        self.let_go.wait(30)
        return super().status_for(path)


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    try:
        yield receiver
    finally:
        receiver.close()


def ask(running: Running, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    return Process(Path(), base_url=running.base_url).request(method, path, body, **options)


def first_key(running: Running, name: str = "API key") -> str:
    (found,) = re.findall(rf"^{name} +(\S+)$", running.out, re.MULTILINE)
    return str(found)


def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    """Return once it holds; every other process sees a change within a second, and this machine may be slow."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold"


def make_destination(running: Running, key: str, url: str, **fields: Any) -> None:
    body = {"name": "all", "transport": "webhook", "address": {"url": url}, **fields}
    answer = ask(running, "POST", "/api/v1/destinations", body, key=key)
    assert answer.status == 201, answer.body


def knows_destination(running: Running, key: str) -> bool:
    return bool(ask(running, "GET", "/api/v1/destinations", key=key).json["destinations"])


def emit(running: Running, key: str, number: int) -> str:
    """Emit an event that knows its number; return its id."""
    headers = {"X-Buildable-Secret": key, "Idempotency-Key": f"number {number}"}
    answer = ask(running, "POST", "/emit", {"event": "load", "payload": {"number": number}}, headers=headers)
    assert answer.status == 200, answer.body
    return f"evt_{answer.json['key']}"


def ids(receiver: Receiver) -> Counter[str]:
    return Counter(each.headers["webhook-id"] for each in list(receiver.arrivals))


def children(pid: int) -> list[int]:
    """Return the processes of a gateway: those children that are its own program, begun by it."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


# -- gateways and dispatchers ------------------------------------------------------------------------------


def test_what_any_gateway_takes_arrives_once_and_keys_are_revoked_at_all(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with receiving(Receiver()) as receiver, ExitStack() as stack:
        one, two = (
            stack.enter_context(running_program(tmp_path, "--role", "gateway", settings=settings)) for _ in range(2)
        )
        for _ in range(2):
            worker = stack.enter_context(running_program(tmp_path, command="work", settings=settings))
            assert worker.base_url == ""
        assert "API key" in one.out
        assert "API key" not in two.out
        key = first_key(one)
        make_destination(one, key, receiver.url)
        until(lambda: knows_destination(two, key))

        taken = [emit((one, two)[number % 2], key, number) for number in range(EVENTS)]
        # What both are sent is one event, whoever took it.
        assert [emit((two, one)[number % 2], key, number) for number in range(EVENTS)] == taken
        receiver.wait_for(EVENTS)
        assert len(set(taken)) == EVENTS
        assert ids(receiver) == Counter(taken)

        made = ask(one, "POST", "/api/v1/keys", {"name": "short"}, key=key).json
        until(lambda: ask(two, "GET", "/api/v1/destinations", key=made["key"]).status == 200)
        assert ask(one, "DELETE", f"/api/v1/keys/{made['id']}", key=key).status in (200, 204)
        until(lambda: ask(two, "GET", "/api/v1/destinations", key=made["key"]).status == 401)


def test_nothing_is_lost_when_a_dispatcher_is_killed_under_load(settings: dict[str, str], tmp_path: Path) -> None:
    settings |= {
        "TOCSIN_DISPATCH_LEASE_MS": str(LEASE_MS),
        "TOCSIN_DESTINATION_TIMEOUT_MAX_S": "2",
        "TOCSIN_DISPATCH_HELD_MAX": "20",
    }
    with receiving(Held()) as receiver, ExitStack() as stack:
        assert isinstance(receiver, Held)
        gateway = stack.enter_context(running_program(tmp_path, "--role", "gateway", settings=settings))
        key = first_key(gateway)
        make_destination(gateway, key, receiver.url, timeout_s=2)
        victim = stack.enter_context(running_program(tmp_path, command="work", settings=settings))
        taken = [emit(gateway, key, number) for number in range(EVENTS)]
        under_way = {each.headers["webhook-id"] for each in receiver.wait_for(5)}
        victim.signal(signal.SIGKILL)
        victim.ended(END_S)
        receiver.let_go.set()
        stack.enter_context(running_program(tmp_path, command="work", settings=settings))

        def missing() -> set[str]:
            open_ones = ask(gateway, "GET", "/api/v1/deliveries?status=delivered&limit=100", key=key).json
            return set(taken) - {each["event"]["id"] for each in open_ones["deliveries"]}

        until(lambda: not missing(), 40)
        found = ids(receiver)
        assert set(found) == set(taken)
        # The control: it was killed in the midst of attempts, which are made again.
        assert any(found[each] > 1 for each in under_way)


def test_a_replay_is_done_once_by_two_that_do_jobs(settings: dict[str, str], tmp_path: Path) -> None:
    settings |= {"TOCSIN_JOB_LOOK_EVERY_S": "0.2", "TOCSIN_JOB_BATCH_MAX": "7"}
    with ExitStack() as stack:
        one, _ = (stack.enter_context(running_program(tmp_path, settings=settings)) for _ in range(2))
        key = first_key(one)
        for number in range(REPLAYED):
            emit(one, key, number)
        answer = ask(one, "POST", "/api/v1/replays", {"filter": {"dialect": "buildable"}}, key=key)
        assert answer.status in (200, 201, 202), answer.body
        job = answer.json

        def stands() -> dict[str, Any]:
            found: dict[str, Any] = ask(one, "GET", f"/api/v1/jobs/{job['id']}", key=key).json
            return found

        until(lambda: stands()["finished_at"] is not None, 40)
        assert (stands()["done"], stands()["failed"]) == (REPLAYED, 0)
        events = ask(one, "GET", "/api/v1/events?limit=100", key=key).json["events"]
        assert len(events) == 2 * REPLAYED


def test_a_shared_database_wants_a_key_that_is_given_and_doctor_looks_at_both(
    settings: dict[str, str], tmp_path: Path
) -> None:
    without = {name: value for name, value in settings.items() if name != "TOCSIN_SECRET_KEY"}
    refused = run_program("init", settings=without, directory=tmp_path)
    assert (refused.status, refused.out) == (2, "")
    assert "TOCSIN_SECRET_KEY" in refused.err
    assert "openssl rand -hex 32" in refused.err
    made = run_program("init", "--json", settings=settings, directory=tmp_path).json
    assert made["database"].startswith("postgresql://127.0.0.1:")
    assert run_program("init", settings=settings, directory=tmp_path).status == 2
    looked = run_program("doctor", "--only", "local", settings=settings, directory=tmp_path)
    found = {each["check"]: each["result"] for each in looked.rows}
    assert (found["database"], found["secret key"]) == ("ok", "ok")
    assert not list(tmp_path.iterdir())


# -- several processes of one program ----------------------------------------------------------------------


def test_a_killed_process_is_begun_again_and_all_end_in_order(settings: dict[str, str], tmp_path: Path) -> None:
    with running_program(tmp_path, "--processes", "2", settings=settings) as running:
        assert running.out.endswith("Ready.\n")
        key = first_key(running)
        before = children(running.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)

        def is_whole() -> bool:
            now = children(running.pid)
            return len(now) == 2 and before[0] not in now

        until(is_whole)
        assert before[1] in children(running.pid)
        until(lambda: sum(line.count("store_opened") for line in running.err.splitlines()) == 4)
        for number in range(20):
            emit(running, key, number)

        with wire(running.base_url) as half:
            body = json.dumps({"event": "late", "payload": {}}).encode()
            half.send(
                request("POST", "/emit", f"X-Buildable-Secret: {key}", f"Content-Length: {len(body)}") + body[:5]
            )
            running.signal(signal.SIGTERM)
            half.send(body[5:])
            assert half.reply().status == 200
        assert running.ended(END_S) == 0
    ended = [json.loads(line) for line in running.err.splitlines() if "process_ended" in line]
    assert [(each["status"], each["process"]) for each in ended] == [(-signal.SIGKILL, before[0])]


def test_processes_end_when_their_parent_is_killed(settings: dict[str, str], tmp_path: Path) -> None:
    with running_program(tmp_path, "--role", "dispatcher", "--processes", "2", settings=settings) as running:
        pids = children(running.pid)
        running.signal(signal.SIGKILL)
        running.ended(END_S)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def test_what_keeps_the_first_from_starting_ends_all(settings: dict[str, str], tmp_path: Path) -> None:
    with running_program(tmp_path, settings=settings) as other:
        port = other.base_url.rpartition(":")[2]
        several = running_program(tmp_path, "--processes", "2", "--metrics-port", port, settings=settings)
        with pytest.raises(AssertionError, match=f"cannot listen on 127.0.0.1 port {port}"), several:
            pass


def test_each_process_tells_of_itself_on_a_port_of_its_own(settings: dict[str, str], tmp_path: Path) -> None:
    with receiving(Receiver()) as free:
        port = free.url.rpartition(":")[2]
    with running_program(tmp_path, "--metrics-port", port, command="work", settings=settings) as running:
        running.base_url = f"http://127.0.0.1:{port}"
        assert ask(running, "GET", "/health").json == {"status": "ok"}
        assert ask(running, "GET", "/ready").json["engine"] == "postgresql"
        assert b"tocsin_attempts_under_way" in ask(running, "GET", "/metrics").body
        assert ask(running, "GET", "/api/v1/events").status == 404
