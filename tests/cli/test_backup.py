"""``tocsin backup``: a copy under load holds what was acknowledged, and is a data directory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Process
from program import run_program
from tenants import Tenant
from tocsin.bootstrap import SystemClock
from tocsin.cli.exits import STORE, USAGE
from tocsin.core.event import Event
from tocsin.core.identifiers import OrganisationId
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.telemetry import Metrics

pytestmark = pytest.mark.acceptance

AT_LEAST = 200
"""Of 60 kB each: more than is copied in one step, so that the gateway writes between two."""


@pytest.fixture(name="process")
def _process(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path / "data")
    process.start()
    yield process
    process.stop()


class Load:
    """Stores events, one after another in several threads, until it is told to end.

    Attributes:
        acknowledged: ids, each added once its answer was read.
    """

    def __init__(self, tenant: Tenant) -> None:
        self.acknowledged: list[str] = []
        self._tenant = tenant
        self._enough = threading.Condition()
        self._ending = False
        self._threads = [threading.Thread(target=self._store, daemon=True) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, count: int) -> list[str]:
        """Return the ids acknowledged so far, once they are so many."""
        with self._enough:
            assert self._enough.wait_for(lambda: len(self.acknowledged) >= count, 60)
            return list(self.acknowledged)

    def end(self) -> None:
        """Stop."""
        self._ending = True
        for thread in self._threads:
            thread.join(30)

    def _store(self) -> None:
        while not self._ending:
            key = self._tenant.post("/emit", {"event": "load", "payload": {"text": "x" * 60_000}})["key"]
            with self._enough:
                self.acknowledged.append(key)
                self._enough.notify_all()


def test_a_copy_under_load_holds_every_event_acknowledged_before(process: Process, tmp_path: Path) -> None:
    tenant = Tenant(process, process.keys["api_key"])
    copy = tmp_path / "copy"
    load = Load(tenant)
    try:
        before = load.wait_for(AT_LEAST)
        done = run_program("backup", str(copy), "--data", str(process.data))
        load.wait_for(len(before) + AT_LEAST)
    finally:
        load.end()
    assert done.status == 0, done
    told = done.json
    assert (told["to"], told["has_secret_key"]) == (str(copy), True)
    assert told["events"] >= len(before)
    assert "keep it as you keep those" in done.err
    assert sorted(each.name for each in copy.iterdir()) == ["secret.key", "tocsin.db"]
    assert {each.stat().st_mode & 0o777 for each in copy.iterdir()} == {0o600}
    assert copy.stat().st_mode & 0o777 == 0o700
    organisation = bytes.fromhex(tenant.get("/api/v1/orgs")["id"].removeprefix("org_"))
    assert asyncio.run(missing(copy, OrganisationId(organisation), before)) == []


async def missing(copy: Path, organisation_id: OrganisationId, keys: list[str]) -> list[str]:
    """Return the events that a copy, opened as a store, does not have."""
    settings = SqliteSettings(directory=copy)
    engine = SqliteEngine(settings, clock=SystemClock(), metrics=Metrics(), on_fatal=pytest.fail)
    await engine.open()
    try:
        found = await engine.find(Event, organisation_id, [bytes.fromhex(key) for key in keys])
    finally:
        await engine.close()
    return [key for key, event in zip(keys, found, strict=True) if event is None]


def test_a_copy_serves_with_the_same_keys_events_and_secrets(process: Process, tmp_path: Path) -> None:
    tenant = Tenant(process, process.keys["api_key"])
    tenant.webhook("http://127.0.0.1:9/none", headers={"Authorization": "Bearer abcdefgh"})
    key = tenant.post("/emit", {"event": "kept", "payload": {"a": 1}})["key"]
    process.stop()
    copy = tmp_path / "copy"
    done = run_program("backup", str(copy), "--data", str(process.data), "--quiet")
    assert (done.status, done.err) == (0, "")
    restored = Process(copy)
    restored.start()
    try:
        assert Tenant(restored, tenant.key).get(f"/api/v1/events/evt_{key}")["payload"] == {"a": 1}
    finally:
        assert restored.stop() == 0
        process.start()


def test_nothing_is_overwritten_and_nothing_left_behind_by_a_failure(process: Process, tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "mine").touch()
    done = run_program("backup", str(target), "--data", str(process.data))
    assert (done.status, "exists" in done.err) == (USAGE, True)
    assert [each.name for each in target.iterdir()] == ["mine"]
    done = run_program("backup", str(tmp_path / "new"), "--data", str(tmp_path / "nowhere"))
    assert (done.status, "is not there" in done.err) == (STORE, True)
    (target / "tocsin.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 8192)
    done = run_program("backup", str(tmp_path / "new"), "--data", str(target))
    assert (done.status, "Traceback" in done.err) == (STORE, False)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "there"]


def test_a_wrong_setting_is_told(tmp_path: Path) -> None:
    done = run_program("backup", str(tmp_path / "new"), settings={"TOCSIN_PORT": "http"})
    assert (done.status, "port" in done.err) == (USAGE, True)
