"""A real gateway for tests: the program in a process of its own on a free port, and a receiver beside it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import described

NOBODY = {
    "TOCSIN_DISCORD_API_BASE": "http://127.0.0.1:9/api/v10",
    "TOCSIN_TELEGRAM_API_BASE": "http://127.0.0.1:9",
    "TOCSIN_SMTP_URL": "smtp://127.0.0.1:9",
}
"""No test asks the real ones, whatever it tries out; one that is set to nothing is not there."""

START_S = 60.0
STOP_S = 40.0
_SCOPES = ("ingest", "read", "manage")


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reached the receiver; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers 200, and below ``/status/<code>`` that code; keeps what arrived."""

    def __init__(self) -> None:
        self.arrivals: list[Arrival] = []
        self._arrived = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _take(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer._note(Arrival(self.command, self.path, headers, body))
                self.send_response(outer.status_for(self.path))
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _take  # noqa: N815  the names http.server looks for

            def log_message(self, *_arguments: Any) -> None:
                """Say nothing."""

        self.failing = False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def status_for(self, path: str) -> int:
        """Return the status that a request to this path gets."""
        if self.failing:
            return 503
        found = re.match(r"/status/(\d{3})", path)
        return int(found.group(1)) if found else 200

    def wait_for(self, count: int, *, path: str | None = None, timeout_s: float = 30.0) -> list[Arrival]:
        """Return what arrived at ``path`` once it is ``count`` requests; fail after ``timeout_s``."""

        def matching() -> list[Arrival]:
            return [each for each in self.arrivals if path is None or each.path == path]

        with self._arrived:
            done = self._arrived.wait_for(lambda: len(matching()) >= count, timeout_s)
            assert done, f"{len(matching())} of {count} requests arrived at {path}"
            return matching()

    def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
        """Return once the condition holds, looked at after each arrival, or after ``timeout_s``."""
        with self._arrived:
            self._arrived.wait_for(condition, timeout_s)

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _note(self, arrival: Arrival) -> None:
        with self._arrived:
            self.arrivals.append(arrival)
            self._arrived.notify_all()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(slots=True)
class Process:
    """``tocsin serve`` in a process of its own.

    Attributes:
        keys: of the first run; empty on later ones.
    """

    data: Path
    settings: dict[str, str] = field(default_factory=dict)
    base_url: str = ""
    keys: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[str] | None = None

    def start(self, port: str = "0") -> None:
        """Start it, on a free port unless one is given, and wait until it answers."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
        environment |= {"TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8", "TOCSIN_LOG_LEVEL": "warning"}
        environment |= {name: value for name, value in (NOBODY | self.settings).items() if value}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tocsin", "serve", "--port", port, "--data", str(self.data)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_S, self._process.kill)
        watchdog.start()
        try:
            for line in self._process.stdout:
                name, _, value = line.strip().rpartition(" ")
                if name == "Tocsin listens on":
                    self.base_url = value
                elif name.strip() in ("API key", "operator key"):
                    self.keys[name.strip().lower().replace(" ", "_")] = value
                elif line == "Ready.\n":
                    break
        finally:
            watchdog.cancel()
        assert self._process.poll() is None, "the gateway did not start"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it as a power switch would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._close()

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._close()

    def _close(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            return self._process.wait(STOP_S)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request; a body that is not bytes is sent as JSON, ``key`` as the bearer."""
        host, _, port = self.base_url.removeprefix("http://").rpartition(":")
        connection = HTTPConnection(host, int(port), timeout=30)
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        raw = body
        if body is not None and not isinstance(body, bytes):
            raw = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, raw, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()


class Gateway:
    """A running gateway with a receiver; what recorded exchanges are played against."""

    def __init__(self, process: Process, receiver: Receiver) -> None:
        self.process = process
        self.receiver = receiver
        self.base_url = process.base_url
        self.receiver_url = receiver.url
        self._foreign: str | None = None

    def new_organisation(self, plan: str | None = None) -> dict[str, str]:
        """Make an organisation; return its keys by the names that exchanges use."""
        if self._foreign is None:
            self._foreign = self._organisation("foreign", None)
        key = self._organisation("exchanges", plan)
        names = {"key": key, "foreign_key": self._foreign}
        names["test_key"] = self._key(key, {"name": "test", "environment": "test"})
        for scope in _SCOPES:
            names[f"{scope}_key"] = self._key(key, {"name": scope, "scopes": [scope]})
        return names

    def differences(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes, answer: described.Answered
    ) -> list[str]:
        """Return in what a request and its answer differ from the OpenAPI document."""
        return described.differences(method, target, headers, body, answer)

    def _organisation(self, name: str, plan: str | None) -> str:
        body = {"name": name} | ({"plan": plan} if plan is not None else {})
        answer = self.process.request("POST", "/api/v1/organisations", body, key=self.process.keys["operator_key"])
        assert answer.status == 201, answer.body
        key: str = answer.json["api_key"]
        return key

    def _key(self, manager: str, body: dict[str, Any]) -> str:
        answer = self.process.request("POST", "/api/v1/keys", body, key=manager)
        assert answer.status == 201, answer.body
        key: str = answer.json["key"]
        return key


@contextmanager
def gateway_with(settings: dict[str, str]) -> Iterator[Gateway]:
    """Run a gateway with these settings, fresh data and a receiver of its own."""
    with TemporaryDirectory(prefix="tocsin-test-") as directory:
        receiver = Receiver()
        process = Process(Path(directory) / "data", settings)
        try:
            process.start()
            yield Gateway(process, receiver)
        finally:
            status = process.stop()
            receiver.close()
        assert status == 0, f"the gateway ended with status {status}"
