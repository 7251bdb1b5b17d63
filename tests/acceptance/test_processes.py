"""Several processes on one PostgreSQL: gateways and dispatchers, any of which may be killed."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from engine.postgres_server import PostgresServer, running_server
from gateway import Receiver
from program import Running, run_program, running_program
from several import ask, emit, first_key, knows_destination, make_destination, shared_settings, until
from streams import listening
from wire import request, wire

pytestmark = [pytest.mark.acceptance, pytest.mark.one_store("several processes share a PostgreSQL")]

END_S = 20.0
EVENTS = 60
REPLAYED = 40
MADE_MAX = 10
LEASE_MS = 7000


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PostgresServer]:
    """A server that does not wait for the disk: no power is lost here."""
    with running_server(fsync="off") as server:
        yield server


@pytest.fixture(name="settings")
def _settings(server: PostgresServer) -> Iterator[dict[str, str]]:
    with shared_settings(server) as settings:
        yield settings


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


def test_a_process_with_another_key_does_not_start_even_where_nothing_is_sealed_yet(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with running_program(tmp_path, "--role", "dispatcher", settings=settings):
        other = settings | {"TOCSIN_SECRET_KEY": "22" * 32}
        for arguments in (["init"], ["serve", "--port", "0"], ["serve", "--port", "0", "--processes", "2"], ["work"]):
            refused = run_program(*arguments, settings=other, directory=tmp_path)
            assert (refused.status, refused.out) == (2, ""), arguments
            assert "TOCSIN_SECRET_KEY" in refused.err
            assert "22" * 16 not in refused.err
        assert run_program("init", settings=settings, directory=tmp_path).status == 0


def test_of_processes_with_different_keys_that_start_at_once_one_starts(
    settings: dict[str, str], tmp_path: Path
) -> None:
    keys = [f"{number:02d}" * 32 for number in range(4)]
    with ThreadPoolExecutor(len(keys)) as pool:
        ended = list(
            pool.map(
                lambda key: (
                    run_program("init", settings=settings | {"TOCSIN_SECRET_KEY": key}, directory=tmp_path).status
                ),
                keys,
            )
        )
    assert sorted(ended) == [0, 2, 2, 2]


def test_whoever_waits_at_a_gateway_is_told_what_a_dispatcher_elsewhere_came_to(
    settings: dict[str, str], tmp_path: Path
) -> None:
    def told(gateway: Running, wait_s: int) -> tuple[int, str | None]:
        answer = ask(
            gateway,
            "POST",
            f"/api/v1/event?wait={wait_s}",
            {"category": "bug"},
            headers={"Authorization": f"Bearer {key}"},
        )
        return answer.status, answer.headers.get("tocsin-deliveries")

    with receiving(Receiver()) as receiver, ExitStack() as stack:
        gateway = stack.enter_context(running_program(tmp_path, "--role", "gateway", settings=settings))
        key = first_key(gateway)
        # An account wants a person to tell; who is told here is the webhook alone.
        contact = {"discord": {"enabled": True, "webhook_url": "http://127.0.0.1:9/none"}}
        assert ask(gateway, "PUT", "/api/v1/account", contact, key=key).status == 200
        (person,) = ask(gateway, "GET", "/api/v1/destinations", key=key).json["destinations"]
        filtered = {"filter": {"types": ["nothing"]}}
        assert ask(gateway, "PATCH", f"/api/v1/destinations/{person['id']}", filtered, key=key).status == 200
        assert ask(gateway, "POST", "/api/v1/categories/quickstart", key=key).status == 200
        make_destination(gateway, key, receiver.url)
        # Nobody sends: the time is over before it is known.
        assert told(gateway, 1) == (500, "1")
        stack.enter_context(running_program(tmp_path, command="work", settings=settings))
        assert told(gateway, 30) == (200, "1")
        receiver.failing = True
        assert told(gateway, 30) == (500, "1")


def test_a_stream_at_a_gateway_tells_of_what_a_dispatcher_elsewhere_sends(
    settings: dict[str, str], tmp_path: Path
) -> None:
    settings |= {"TOCSIN_ELSEWHERE_LOOK_EVERY_S": "0.2"}
    with receiving(Receiver()) as receiver, ExitStack() as stack:
        one, two = (
            stack.enter_context(running_program(tmp_path, "--role", "gateway", settings=settings)) for _ in range(2)
        )
        stack.enter_context(running_program(tmp_path, command="work", settings=settings))
        key = first_key(one)
        make_destination(one, key, receiver.url)
        until(lambda: knows_destination(two, key))
        listener = stack.enter_context(listening(two.base_url, key))
        taken: list[str] = []

        def is_told() -> bool:
            taken.append(emit(one, key, len(taken)))
            return any(each.name == "delivery" for each in list(listener.messages))

        until(is_told)
        listener.until_told(taken[-1], times=2)
        about = [each for each in listener.messages if each.event_id == taken[-1]]
        assert [each.name for each in about] == ["event", "delivery"]
        shown = about[1].data
        assert (shown["status"], shown["attempts_made"], shown["status_code"]) == ("delivered", 1, 200)
        assert shown["attempt"] is None


def test_no_two_gateways_make_more_than_there_may_be(settings: dict[str, str], tmp_path: Path) -> None:
    settings |= {"TOCSIN_DESTINATION_PER_ORGANISATION_MAX": str(MADE_MAX)}
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(running_program(tmp_path, "--role", "gateway", settings=settings)) for _ in range(2)
        ]
        key = first_key(gateways[0])
        until(lambda: ask(gateways[1], "GET", "/api/v1/destinations", key=key).status == 200)

        def make(number: int) -> int:
            body = {"name": str(number), "transport": "webhook", "address": {"url": "http://127.0.0.1:9"}}
            return ask(gateways[number % 2], "POST", "/api/v1/destinations", body, key=key).status

        with ThreadPoolExecutor(8) as pool:
            made = Counter(pool.map(make, range(4 * MADE_MAX)))
        assert made == {201: MADE_MAX, 409: 3 * MADE_MAX}
        for gateway in gateways:
            path = f"/api/v1/destinations?limit={2 * MADE_MAX}"
            until(lambda: len(ask(gateway, "GET", path, key=key).json["destinations"]) == MADE_MAX)  # noqa: B023


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
