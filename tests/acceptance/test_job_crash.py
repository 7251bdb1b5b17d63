"""A bulk replay is killed in the middle, again and again: every event is replayed, and none of them twice."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from gateway import Process, Receiver
from stores import Store

pytestmark = pytest.mark.acceptance

EVENTS = 1200
CLIENTS = 6
KILLS_AT = (150, 450, 800)
LOOKS_MAX = 5000
SETTINGS = {
    "TOCSIN_JOB_EVENTS_PER_S": "1000",
    "TOCSIN_JOB_AT_ONCE_MAX": "4",
    "TOCSIN_DISPATCH_LEASE_MS": "7000",
    "TOCSIN_DESTINATION_TIMEOUT_MAX_S": "2",
}
"""Batches of a hundred in parts of four: there is much to be killed in the middle of. Short leases: where others may
hold some too, what a killed process had leased is waited for.
"""


def emit(process: Process, key: str, names: list[str]) -> None:
    """Store one event of each name, over one connection."""
    host, _, port = process.base_url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    for name in names:
        body = json.dumps({"event": "load", "payload": {"name": name}})
        connection.request("POST", "/emit", body, {"X-Buildable-Secret": key})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()


def emit_all(process: Process, key: str, count: int = EVENTS) -> set[str]:
    """Store so many events; return their names."""
    names = [str(number) for number in range(count)]
    threads = [threading.Thread(target=emit, args=(process, key, names[each::CLIENTS])) for each in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return set(names)


def copies(receiver: Receiver) -> dict[str, set[str]]:
    """Return the ids under which each name arrived; a delivery that is made again keeps its id."""
    found: dict[str, set[str]] = defaultdict(set)
    for each in list(receiver.arrivals):
        found[json.loads(each.body)["name"]].add(each.headers["webhook-id"])
    return found


def not_once(receiver: Receiver, names: set[str]) -> dict[str, int]:
    """Return what did not arrive as exactly one event, and as how many."""
    found = copies(receiver)
    return {name: len(found[name]) for name in names if len(found[name]) != 1}


def look(process: Process, key: str, job: str) -> dict[str, Any]:
    """Return a job as it stands."""
    answer = process.request("GET", f"/api/v1/jobs/{job}", key=key)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def stored_copies(process: Process, key: str, originals: int = EVENTS) -> int:
    """Return how many events the replay has made so far of so many."""
    answer = process.request("GET", "/api/v1/events?type=load&limit=1", key=key)
    assert answer.status == 200, answer.body
    total: int = answer.json["total"]
    return total - originals


def until_within_a_batch(process: Process, key: str, job: str, count: int) -> None:
    """Return when so many copies are made, and more of them than the job has written down that it did."""
    for _ in range(LOOKS_MAX):
        made = stored_copies(process, key)
        found = look(process, key, job)
        assert found["state"] in ("queued", "running"), "it was over before it could be killed"
        if made >= count and made > found["done"]:
            return
    pytest.fail(f"the job stands still: {look(process, key, job)}")


def until_begun(process: Process, key: str, originals: int) -> int:
    """Return how many copies there are, as soon as there are some."""
    for _ in range(LOOKS_MAX):
        made = stored_copies(process, key, originals)
        if made:
            return made
    pytest.fail("the job stands still")


def until_over(process: Process, key: str, job: str) -> dict[str, Any]:
    """Return the job once nothing of it is left to do."""
    found = look(process, key, job)
    for _ in range(LOOKS_MAX):
        if found["finished_at"] is not None:
            return found
        found = look(process, key, job)
    pytest.fail(f"the job stands still: {found}")


def test_a_cancelled_job_does_the_batch_that_it_was_killed_in_and_no_other(store: Store, tmp_path: Path) -> None:
    count, batch = 300, 100
    settings = {"TOCSIN_JOB_EVENTS_PER_S": str(batch), "TOCSIN_JOB_AT_ONCE_MAX": "4"}
    process = Process(tmp_path / "data", store.settings() | settings)
    process.start()
    key = process.keys["api_key"]
    try:
        emit_all(process, key, count)
        asked = process.request("POST", "/api/v1/replays", {"filter": {"type": "load"}}, key=key)
        job: str = asked.json["id"]
        made = until_begun(process, key, count)
        cancelled = process.request("POST", f"/api/v1/jobs/{job}/cancel", key=key)
        # The batch takes a second: it is under way still, and is when the process dies.
        assert (cancelled.json["state"], cancelled.json["finished_at"]) == ("cancelled", None)
        process.kill()
        process.start()
        ended = until_over(process, key, job)
        assert (ended["state"], ended["done"], ended["failed"]) == ("cancelled", batch, 0)
        assert stored_copies(process, key, count) == batch
        # The control: not all of them were there before.
        assert 0 < made < batch

        # Nothing of it is left: the next job of the organisation takes all there is.
        asked = process.request("POST", "/api/v1/replays", {"filter": {"type": "load"}, "dry_run": True}, key=key)
        assert asked.json["count"] == count
    finally:
        process.stop()


def test_every_event_is_replayed_exactly_once_though_the_process_is_killed(store: Store, tmp_path: Path) -> None:
    receiver = Receiver()
    process = Process(tmp_path / "data", store.settings() | SETTINGS)
    process.start()
    key = process.keys["api_key"]
    try:
        names = emit_all(process, key)
        destination = {
            "name": "all",
            "transport": "webhook",
            "address": {"url": f"{receiver.url}/hook"},
            "timeout_s": 2,
        }
        assert process.request("POST", "/api/v1/destinations", destination, key=key).status == 201
        asked = process.request("POST", "/api/v1/replays", {"filter": {"type": "load"}}, key=key)
        assert asked.status == 202
        assert asked.json["total"] == EVENTS
        job: str = asked.json["id"]
        for count in KILLS_AT:
            until_within_a_batch(process, key, job, count)
            process.kill()
            process.start()
        ended = until_over(process, key, job)
        assert (ended["state"], ended["done"], ended["failed"], ended["total"]) == ("finished", EVENTS, 0, EVENTS)
        receiver.wait_until(lambda: set(copies(receiver)) >= names, timeout_s=60.0)
        assert stored_copies(process, key) == EVENTS
        assert not_once(receiver, names) == {}

        # The controls: what arrives a second time, and what never does, would have been seen.
        newest = process.request("GET", "/api/v1/events?type=load&limit=1", key=key).json["events"][0]["id"]
        again = process.request("POST", f"/api/v1/events/{newest}/replay", key=key)
        assert again.status == 202
        receiver.wait_until(lambda: bool(not_once(receiver, names)))
        assert list(not_once(receiver, names | {"never"}).values()) in ([2, 0], [0, 2])
    finally:
        process.stop()
        receiver.close()
