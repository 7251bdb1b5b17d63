"""What the machinery around a gateway sees when the disk takes nothing more, and when it does again."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path

import pytest

from program import Running, running_program
from wire import request, wire

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.one_store("SQLite alone shares a disk with the gateway"),
    pytest.mark.skipif(
        sys.platform != "linux", reason="the limits of a running process are changed by Linux's prlimit"
    ),
]

EVENT = {"event": "user.created", "payload": {"text": "x" * 10_000}}
FULL_S = 10.0


def limit_files(running: Running, size: int) -> None:
    """Let the process write nothing beyond this size of a file, which is what a full disk looks like to it."""
    resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def status(running: Running, path: str) -> int:
    with wire(running.base_url) as client:
        client.send(request("GET", path))
        return client.reply().status


def emit(running: Running, key: str) -> int:
    body = json.dumps(EVENT).encode()
    with wire(running.base_url) as client:
        client.send(request("POST", "/emit", f"X-Buildable-Secret: {key}", body=body))
        return client.reply().status


def test_a_store_that_cannot_write_is_not_ready_and_reads_go_on(tmp_path: Path) -> None:
    settings = {"TOCSIN_LOG_FORMAT": "json"}
    with running_program(tmp_path, settings=settings) as running:
        key = running.out.partition("API key")[2].split()[0]
        with wire(running.base_url) as client:
            client.send(request("GET", "/ready"))
            ready = client.reply()
        assert (ready.status, ready.json["status"], ready.json["durability"]) == (200, "ready", "fsync")
        assert emit(running, key) == 200

        limit_files(running, 0)
        for _ in range(3):
            assert emit(running, key) == 503
            with wire(running.base_url) as client:
                client.send(request("GET", "/ready") + request("GET", "/metrics"))
                unready = client.reply()
                assert (unready.status, unready.json["status"]) == (503, "unavailable")
                assert int(unready.headers["retry-after"]) > 0
                assert b"\ntocsin_store_writable 0.0\n" in client.reply().body
            assert status(running, "/readyz") == 503
            assert status(running, "/health") == status(running, "/healthz") == 200
        assert events(running, key) == 1

        limit_files(running, resource.RLIM_INFINITY)
        deadline_s = time.monotonic() + FULL_S
        while status(running, "/ready") != 200:
            assert time.monotonic() < deadline_s, "it does not go on"
        assert emit(running, key) == 200
        assert events(running, key) == 2
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
        told = [json.loads(line)["event"] for line in running.err.splitlines()]
        assert told.count("store_not_writable") == told.count("store_writable") == 1
        assert "request_failed" not in told


def events(running: Running, key: str) -> int:
    """Return how many events are stored."""
    with wire(running.base_url) as client:
        client.send(request("GET", "/api/v1/events", f"Authorization: Bearer {key}"))
        total: int = client.reply().json["total"]
        return total


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    settings = {"TOCSIN_LOG_LEVEL": "debug", "TOCSIN_LOG_FORMAT": "json"}
    with running_program(tmp_path, settings=settings, before="exec 2>/dev/full") as running:
        key = running.out.partition("API key")[2].split()[0]
        limit_files(running, 0)
        assert status(running, "/ready") == 503
        assert emit(running, key) == 503
        limit_files(running, resource.RLIM_INFINITY)
        assert emit(running, key) == 200
        running.signal(signal.SIGTERM)
        assert running.ended() == 0
