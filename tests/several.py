"""Several processes of the program on one PostgreSQL: their settings, and what tests ask of them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.postgres_server import PostgresServer
from gateway import Answer, Process
from program import Running

KEY = "11" * 32


@contextmanager
def shared_settings(server: PostgresServer) -> Iterator[dict[str, str]]:
    """Return settings of processes that share an empty database."""
    with server.database() as name:
        yield {
            "TOCSIN_DATABASE": server.dsn(name),
            "TOCSIN_SECRET_KEY": KEY,
            "TOCSIN_POSTGRES_FSYNC_NEEDED": "false",
            "TOCSIN_POSTGRES_CONNECTIONS": "6",
            "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
            "TOCSIN_LOG_FORMAT": "json",
        }


def ask(running: Running, method: str, path: str, body: Any = None, **options: Any) -> Answer:
    """Return what a process answers."""
    return Process(Path(), base_url=running.base_url).request(method, path, body, **options)


def first_key(running: Running, name: str = "API key") -> str:
    """Return a key that it printed at its first start."""
    (found,) = re.findall(rf"^{name} +(\S+)$", running.out, re.MULTILINE)
    return str(found)


def until(holds: Callable[[], bool], within_s: float = 45.0) -> None:
    """Return once it holds; every other process sees a change within a second, and this machine may be slow."""
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s, "it did not come to hold"
        # Those who are looked at want the processors too.
        threading.Event().wait(0.02)


def make_destination(running: Running, key: str, url: str, **fields: Any) -> str:
    """Make a webhook that gets everything; return its id."""
    body = {"name": "all", "transport": "webhook", "address": {"url": url}, **fields}
    answer = ask(running, "POST", "/api/v1/destinations", body, key=key)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def knows_destination(running: Running, key: str) -> bool:
    """Return whether it has a destination."""
    return bool(ask(running, "GET", "/api/v1/destinations", key=key).json["destinations"])


def emit(running: Running, key: str, number: int) -> str:
    """Emit an event that knows its number; return its id."""
    headers = {"X-Buildable-Secret": key, "Idempotency-Key": f"number {number}"}
    answer = ask(running, "POST", "/emit", {"event": "load", "payload": {"number": number}}, headers=headers)
    assert answer.status == 200, answer.body
    return f"evt_{answer.json['key']}"
