"""What one process changes in the catalog, as the others see it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from engine.postgres_server import PostgresServer, running_server
from gateway import Receiver
from program import Running, running_program
from several import ask, emit, first_key, make_destination, shared_settings, until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.one_store("several processes share a PostgreSQL"),
    # Three programs start one after another, each waits for the others, and the machine may be slow.
    pytest.mark.timeout(300),
]

WAYS = {
    "bell": {"TOCSIN_CATALOG_REFRESH_EVERY_S": "3600"},
    "polling": {"TOCSIN_POSTGRES_LISTENS": "false"},
}
"""By which changes come alone: nobody looks by itself within the test, or nobody is told."""


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[PostgresServer]:
    with running_server(fsync="off") as server:
        yield server


@pytest.fixture(name="settings")
def _settings(server: PostgresServer) -> Iterator[dict[str, str]]:
    with shared_settings(server) as settings:
        yield settings | {"TOCSIN_DISPATCH_POLL_S": "0.2"}


class _Processes:
    """Two gateways and a dispatcher, which sends to two destinations: ``a``, which is changed, and ``b``."""

    def __init__(self, stack: ExitStack, directory: Path, settings: dict[str, str]) -> None:
        self.receiver = Receiver()
        stack.callback(self.receiver.close)
        self.one, self.two = (
            stack.enter_context(running_program(directory, "--role", "gateway", settings=settings)) for _ in range(2)
        )
        stack.enter_context(running_program(directory, command="work", settings=settings))
        self.key = first_key(self.one)
        make_destination(self.one, self.key, f"{self.receiver.url}/b", name="b")
        self.id = make_destination(self.one, self.key, f"{self.receiver.url}/a", name="a")
        self.waiting = ""
        self._numbers = count()

    @property
    def path(self) -> str:
        return f"/api/v1/destinations/{self.id}"

    def ask(self, running: Running, method: str, path: str, body: Any = None) -> Any:
        """Return what is answered, which must be a success."""
        answer = ask(running, method, path, body, key=self.key)
        assert answer.status in range(200, 300), answer.body
        return answer.json if answer.body else None

    def sees(self, running: Running, **fields: Any) -> bool:
        """Return whether a gateway shows the destination with these fields."""
        answer = ask(running, "GET", self.path, key=self.key)
        return answer.status == 200 and {name: answer.json[name] for name in fields} == fields

    def sent(self, running: Running) -> tuple[str, set[str]]:
        """Emit an event; return its id, and the paths at which it has arrived once it has at ``b``."""
        event_id = emit(running, self.key, next(self._numbers))

        def paths() -> set[str]:
            return {each.path for each in list(self.receiver.arrivals) if each.headers["webhook-id"] == event_id}

        until(lambda: "/b" in paths())
        return event_id, paths()

    def state(self, event_id: str) -> str | None:
        """Return the state of the delivery of an event to ``a``; None where it has none."""
        found = self.ask(self.one, "GET", f"/api/v1/deliveries?event={event_id}")["deliveries"]
        assert len(found) in (1, 2)
        return next((each["status"] for each in found if each["destination"]["id"] == self.id), None)

    def held_back(self) -> str:
        """Return the id of an event that waits for ``a`` although others arrived since at ``b``, or nothing."""
        event_id, *_ = [self.sent(self.two)[0] for _ in range(2)]
        self.waiting = event_id if self.state(event_id) == "queued" else ""
        return self.waiting


@pytest.mark.parametrize("way", WAYS)
def test_all_see_where_events_go_and_who_may_ask(settings: dict[str, str], tmp_path: Path, way: str) -> None:
    with ExitStack() as stack:
        all_ = _Processes(stack, tmp_path, settings | WAYS[way])
        one, two = all_.one, all_.two
        until(lambda: all_.sees(two, name="a"))
        # The other gateway routes by the new filter.
        all_.ask(one, "PATCH", all_.path, {"filter": {"types": ["wanted"]}})
        until(lambda: all_.state(all_.sent(two)[0]) is None)
        all_.ask(two, "PATCH", all_.path, {"filter": {}})
        until(lambda: "/a" in all_.sent(one)[1])
        # The dispatcher sends to the new address.
        all_.ask(two, "PATCH", all_.path, {"address": {"url": f"{all_.receiver.url}/new"}})
        until(lambda: "/new" in all_.sent(one)[1])

        made = all_.ask(one, "POST", "/api/v1/keys", {"name": "short"})
        until(lambda: ask(two, "GET", "/api/v1/destinations", key=made["key"]).status == 200)
        all_.ask(one, "DELETE", f"/api/v1/keys/{made['id']}")
        until(lambda: ask(two, "GET", "/api/v1/destinations", key=made["key"]).status == 401)


@pytest.mark.parametrize("way", WAYS)
def test_all_see_what_is_held_back_and_what_is_gone(settings: dict[str, str], tmp_path: Path, way: str) -> None:
    with ExitStack() as stack:
        all_ = _Processes(stack, tmp_path, settings | WAYS[way])
        one, two = all_.one, all_.two
        until(lambda: all_.sees(two, name="a"))
        # The dispatcher sends nothing while it is paused, and what it held back afterwards.
        all_.ask(one, "POST", f"{all_.path}/pause")
        until(lambda: all_.sees(two, paused=True))
        until(lambda: all_.held_back() != "")
        waiting = all_.waiting
        all_.ask(two, "POST", f"{all_.path}/resume")
        until(lambda: all_.state(waiting) == "delivered")
        # What waits for one that is gone is cancelled.
        all_.ask(one, "POST", f"{all_.path}/pause")
        until(lambda: all_.held_back() != "")
        waiting = all_.waiting
        all_.ask(two, "DELETE", all_.path)
        until(lambda: ask(one, "GET", all_.path, key=all_.key).status == 404)
        until(lambda: all_.state(waiting) == "cancelled")
