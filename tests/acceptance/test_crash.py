"""The program is killed under load and started again: nothing that was acknowledged is missing."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from gateway import Process, Receiver
from stores import Store

pytestmark = pytest.mark.acceptance

CRASHES = 4
CLIENTS = 8
_DUPLICATES_MAX = 0.5
SETTINGS = {"TOCSIN_DISPATCH_LEASE_MS": "7000", "TOCSIN_DESTINATION_TIMEOUT_MAX_S": "2"}
"""On PostgreSQL what a killed process had leased is another's only once the lease has run out."""


class _Load:
    """Clients that emit events and keep a ledger of what was acknowledged; a failed request is sent again."""

    def __init__(self, process: Process, key: str) -> None:
        self._process = process
        self._key = key
        self._stopping = threading.Event()
        self.acknowledged: dict[str, str] = {}
        """The event's key by the number that its payload holds."""
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, count: int) -> None:
        """Return once so many more events are acknowledged."""
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal:
            self._stopping.wait(0.01)

    def _run(self, client: int) -> None:
        number = 0
        connection: HTTPConnection | None = None
        while not self._stopping.is_set():
            name = f"{client}-{number}"
            try:
                if connection is None:
                    host, _, port = self._process.base_url.removeprefix("http://").rpartition(":")
                    connection = HTTPConnection(host, int(port), timeout=10)
                body = json.dumps({"event": "load", "payload": {"name": name}})
                headers = {"X-Buildable-Secret": self._key, "Idempotency-Key": name}
                connection.request("POST", "/emit", body, headers)
                response = connection.getresponse()
                answer = response.read()
            except (OSError, HTTPException):
                if connection is not None:
                    connection.close()
                connection = None
                self._stopping.wait(0.02)
                continue
            if response.status == 200:
                with self._lock:
                    self.acknowledged[name] = json.loads(answer)["key"]
                number += 1
        if connection is not None:
            connection.close()


@contextmanager
def under_load(store: Store, directory: Path) -> Iterator[tuple[Process, Receiver, _Load]]:
    """Run a gateway, a receiver of all its events, and clients that emit them."""
    receiver = Receiver()
    process = Process(directory / "data", store.settings() | SETTINGS)
    process.start()
    key = process.keys["api_key"]
    destination = {"name": "all", "transport": "webhook", "address": {"url": f"{receiver.url}/hook"}, "timeout_s": 2}
    assert process.request("POST", "/api/v1/destinations", destination, key=key).status == 201
    load = _Load(process, key)
    try:
        load.start()
        yield process, receiver, load
    finally:
        load.stop()
        process.stop()
        receiver.close()


def test_no_acknowledged_event_is_lost_by_kills_under_load(store: Store, tmp_path: Path) -> None:
    chance = random.Random(7)
    with under_load(store, tmp_path) as (process, receiver, load):
        for _ in range(CRASHES):
            load.wait_for(chance.randrange(20, 200))
            process.kill()
            process.start()
        load.wait_for(50)
        load.stop()

        expected = {f"evt_{event_key}": name for name, event_key in load.acknowledged.items()}

        def missing() -> set[str]:
            return set(expected) - {each.headers["webhook-id"] for each in receiver.arrivals}

        receiver.wait_until(lambda: not missing())
        assert not missing()
        for arrival in receiver.arrivals:
            name = expected.get(arrival.headers["webhook-id"])
            assert name in (None, json.loads(arrival.body)["name"])
        copies = len(receiver.arrivals) - len({each.headers["webhook-id"] for each in receiver.arrivals})
        # What was sent and not recorded yet at each kill is sent again, which is little, however slow the machine is.
        assert copies <= _DUPLICATES_MAX * len(expected)
        names = [json.loads(each.body)["name"] for each in receiver.arrivals]
        ids = {each.headers["webhook-id"] for each in receiver.arrivals}
        assert len(set(names)) == len(ids), "one idempotency key made two events"


def test_sigterm_under_load_loses_nothing_and_breaks_no_request(store: Store, tmp_path: Path) -> None:
    with under_load(store, tmp_path) as (process, receiver, load):
        load.wait_for(200)
        assert process.stop() == 0
        process.start()
        load.wait_for(50)
        load.stop()
        expected = {f"evt_{event_key}" for event_key in load.acknowledged.values()}
        receiver.wait_until(lambda: expected <= {each.headers["webhook-id"] for each in receiver.arrivals})
        counts: dict[str, int] = {}
        for arrival in receiver.arrivals:
            counts[arrival.headers["webhook-id"]] = counts.get(arrival.headers["webhook-id"], 0) + 1
        assert set(counts.values()) == {1}, "a graceful shutdown sent something twice"
