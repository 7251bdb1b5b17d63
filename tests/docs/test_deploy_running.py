"""The processes of the Compose file for PostgreSQL, run as it has them, and replaced one after the other."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from docs import deployed
from docs.pages import blocks
from engine.postgres_server import PostgresServer, running_server
from gateway import Process, Receiver
from program import environment, run_program
from tenants import Tenant

pytestmark = pytest.mark.acceptance

START_S = 30.0
STOP_S = 20.0
FILE = deployed.DEPLOY / "compose.postgres.yaml"


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class Started:
    """A process of the Compose file; a gateway's ``base_url`` is where it listens."""

    def __init__(self, service: str, directory: Path) -> None:
        said = deployed.our_services(FILE)[service]
        self.metrics_port = free_port()
        words = [*said["command"], *(["--port", "0"] if said["command"][0] == "serve" else [])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tocsin", *words],
            stdout=subprocess.PIPE,
            text=True,
            cwd=directory,
            env=environment(
                said["environment"]
                | {"TOCSIN_METRICS_PORT": str(self.metrics_port), "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8"}
            ),
        )
        self.base_url = ""
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_S, self._process.kill)
        watchdog.start()
        try:
            for line in self._process.stdout:
                self.base_url = line.strip().rpartition(" ")[2] if "listens on" in line else self.base_url
                if line == "Ready.\n":
                    break
        finally:
            watchdog.cancel()
        assert self._process.poll() is None, f"{service} did not start"

    def stop(self) -> int:
        """End it in order; return its exit status. Idempotent."""
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_S)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def tenant(self, key: str) -> Tenant:
        """Return the organisation of a key, at this gateway."""
        return Tenant(Process(Path(), base_url=self.base_url), key)

    def is_healthy(self) -> bool:
        """Return what the health check of the file's dispatchers says of it."""
        kind, program, *rest = deployed.our_services(FILE)["dispatcher"]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        asked = [word.replace("9090", str(self.metrics_port)) for word in rest]
        return (
            subprocess.run([sys.executable, *asked], check=False, timeout=20, stderr=subprocess.PIPE).returncode == 0
        )


def write_settings(server: PostgresServer, directory: Path) -> None:
    """Write ``tocsin.toml`` by the page's own lines, for another database."""
    (script,) = (each.text for each in blocks(deployed.PAGE) if "deploy/secrets/tocsin.toml" in each.text)
    made = script[script.index("{ echo") : script.index("} >")] + "}"
    made = re.sub(r'postgresql://[^"]*(?=\\")', server.dsn("tocsin"), made)
    done = subprocess.run(["bash", "-c", made], capture_output=True, text=True, check=True, timeout=20)
    (directory / "tocsin.toml").write_text(done.stdout)


@contextmanager
def starting(directory: Path) -> Iterator[Callable[[str], Started]]:
    """Yield what starts a process by its service's name; all are ended in the end."""
    found: list[Started] = []

    def start(service: str) -> Started:
        found.append(Started(service, directory))
        return found[-1]

    try:
        yield start
    finally:
        for each in found:
            each.stop()


def test_two_gateways_and_two_dispatchers_share_a_database_and_may_go_one_after_the_other(tmp_path: Path) -> None:
    with closing(Receiver()) as receiver, running_server() as server, starting(tmp_path) as start:
        server.execute("create database tocsin encoding 'UTF8' template template0")
        write_settings(server, tmp_path)
        done = run_program("init", directory=tmp_path)
        assert done.status == 0, done.err
        key = dict(line.split() for line in done.out.splitlines())["api_key"]
        gateway = start("gateway-1")
        one = gateway.tenant(key)
        one.webhook(f"{receiver.url}/hook")
        # What one process changes, those that start afterwards know from their start.
        leaving, first, second = start("gateway-2"), start("dispatcher"), start("dispatcher")
        assert all(each.is_healthy() for each in (gateway, leaving, first, second))
        # No dispatcher has heard of this one when its first event is due.
        other = leaving.tenant(key)
        other.webhook(f"{receiver.url}/late", name="late")
        other.post("/emit", {"event": "first", "payload": {}})
        receiver.wait_for(1, path="/hook")
        receiver.wait_for(1, path="/late")
        assert first.stop() == 0
        assert leaving.stop() == 0
        one.post("/emit", {"event": "second", "payload": {}})
        receiver.wait_for(2, path="/hook")
        assert second.stop() == 0
        one.post("/emit", {"event": "third", "payload": {}})
        assert len(receiver.wait_for(2, path="/hook")) == 2, "a gateway sends nothing"
        start("dispatcher")
        receiver.wait_for(3, path="/hook")
        listed = one.get("/api/v1/events")["events"]
        assert [each["event_type"] for each in listed] == ["third", "second", "first"]
        server.stop()
        assert not gateway.is_healthy()
