"""``tocsin serve``: where its settings come from, what it says, and how it ends."""

from __future__ import annotations

import json
import re
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from program import run_program, running_program
from wire import request, wire

pytestmark = pytest.mark.acceptance

END_S = 10.0
"""The longest that a shutdown may take."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port: int = bound.getsockname()[1]
        return port


# -- the start ---------------------------------------------------------------------------------------------


def test_a_first_run_initialises_by_itself_and_the_next_one_takes_over_at_once(tmp_path: Path) -> None:
    port = free_port()
    with running_program(tmp_path, "--port", str(port)) as first:
        assert re.search(r"^API key +tcs_live_[0-9a-f]{64}$", first.out, re.MULTILINE)
        assert re.search(r"^operator key +tcs_live_[0-9a-f]{64}$", first.out, re.MULTILINE)
        assert "only now" in first.out
        assert (tmp_path / "tocsin-data" / "tocsin.db").exists()
        with wire(first.base_url) as kept:
            kept.send(request("GET", "/health"))
            assert kept.reply().status == 200
            first.signal(signal.SIGINT)
            assert first.ended(END_S) == 0
    with running_program(tmp_path, "--port", str(port)) as second:
        assert second.out == f"Tocsin listens on http://127.0.0.1:{port}\nReady.\n"


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    toml = {"port": 1, "data": '"from-file"', "log_format": '"json"', "server_idle_s": 7.5, "log_level": '"debug"'}
    (tmp_path / "tocsin.toml").write_text("".join(f"{name} = {value}\n" for name, value in toml.items()), "utf-8")
    port = free_port()
    settings = {"TOCSIN_PORT": "2", "TOCSIN_DATA": "from-environment", "TOCSIN_LOG_LEVEL": "info"}
    with running_program(tmp_path, "--port", str(port), settings=settings) as running:
        assert running.base_url == f"http://127.0.0.1:{port}"
        assert (tmp_path / "from-environment" / "tocsin.db").exists()
        assert not (tmp_path / "from-file").exists()
        lines = [json.loads(line) for line in running.err.splitlines()]
        assert {line["level"] for line in lines} == {"info"}, "the file asks for debug, the environment for less"


def test_it_listens_on_ipv6(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with running_program(tmp_path, "--host", "::1") as running:
        assert re.fullmatch(r"http://\[::1\]:\d+", running.base_url)


def test_an_address_that_is_not_this_machines_is_told(tmp_path: Path) -> None:
    done = run_program("serve", "--host", "192.0.2.1", "--port", "0", directory=tmp_path)
    assert done.status == 4
    assert "192.0.2.1" in done.err
    assert "--host" in done.err


def test_a_port_that_is_in_use_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_program("serve", "--port", str(port), directory=tmp_path)
    assert done.status == 4
    assert f"port {port}" in done.err
    assert "choose another --port" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["flag", "variable", "file"])
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("init", "--json")], ids=["serve", "init"])
def test_another_database_is_refused_in_words(tmp_path: Path, command: tuple[str, ...], source: str) -> None:
    url = "mysql://user:canary@localhost/tocsin"
    if source == "file":
        (tmp_path / "tocsin.toml").write_text(f'database = "{url}"\n', "utf-8")
    flags = ("--database", url) if source == "flag" else ()
    settings = {"TOCSIN_DATABASE": url} if source == "variable" else {}
    done = run_program(*command, *flags, settings=settings, directory=tmp_path)
    assert (done.status, done.out) == (2, "")
    (said,) = done.err.splitlines()
    for word in ("setting database", "SQLite", "--data", "postgresql://"):
        assert word in said
    assert "canary" not in said
    assert [path.name for path in tmp_path.iterdir()] == (["tocsin.toml"] if source == "file" else [])


def test_a_deployment_that_names_the_servers_of_later_transports_starts(tmp_path: Path) -> None:
    settings = {
        "TOCSIN_SMTP_URL": "smtp+starttls://user:canary@mail.example.com:587",
        "TOCSIN_SMTP_FROM": "alerts@example.com",
        "TOCSIN_DISCORD_API_BASE": "http://127.0.0.1:8081/api/v10",
        "TOCSIN_TELEGRAM_API_BASE": "http://127.0.0.1:8081",
    }
    with running_program(tmp_path, settings=settings) as running:
        assert "canary" not in running.out + running.err


@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("work",), ("init",)], ids=lambda each: each[0])
def test_a_database_that_is_not_to_be_reached_is_told_without_its_password(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings = {
        "TOCSIN_DATABASE": f"postgresql://user:canary@127.0.0.1:{port}/tocsin",
        "TOCSIN_SECRET_KEY": "11" * 32,
    }
    done = run_program(*command, settings=settings, directory=tmp_path)
    assert (done.status, done.out) == (3, "")
    (said,) = done.err.splitlines()
    for word in ("the database cannot be reached", "is the server running", "--database"):
        assert word in said
    assert "canary" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("serve", "--port", "0", "--processes", "2"), "setting processes (TOCSIN_PROCESSES)"),
        (("serve", "--port", "0", "--role", "gateway"), "setting role (TOCSIN_ROLE)"),
        (("work",), "setting role (TOCSIN_ROLE)"),
    ],
    ids=["processes", "gateway", "work"],
)
def test_the_embedded_database_is_for_one_process_that_does_all(
    tmp_path: Path, command: tuple[str, ...], named: str
) -> None:
    done = run_program(*command, directory=tmp_path)
    assert (done.status, done.out) == (2, "")
    for word in (named, "SQLite", "--database", "TOCSIN_DATABASE"):
        assert word in done.err
    assert not list(tmp_path.iterdir())


def test_a_backup_of_a_server_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    settings = {"TOCSIN_DATABASE": "postgresql://user:canary@db/tocsin"}
    done = run_program("backup", str(tmp_path / "to"), settings=settings, directory=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert "pg_dump" in done.err
    assert "postgresql://db/tocsin" in done.err
    assert "canary" not in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="a process's limits are read from Linux's /proc")
def test_it_may_open_as_many_files_as_the_hard_limit_allows(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = {"TOCSIN_LOG_LEVEL": "debug", "TOCSIN_LOG_FORMAT": "json"}
    with running_program(tmp_path, settings=settings, before="ulimit -Sn 256") as running:
        limits = Path(f"/proc/{running.pid}/limits").read_text("ascii")
        assert re.search(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE).groups() == (str(hard), str(hard))  # type: ignore[union-attr]
        (told,) = (line for line in map(json.loads, running.err.splitlines()) if line["event"] == "file_limit_raised")
        assert (told["level"], told["before"], told["limit"]) == ("debug", 256, hard)


# -- the end -----------------------------------------------------------------------------------------------


def test_a_signal_ends_it_in_order_in_spite_of_clients_that_hang(tmp_path: Path) -> None:
    settings = {"TOCSIN_SERVER_HEAD_DEADLINE_S": "60", "TOCSIN_SERVER_BODY_DEADLINE_S": "60"}
    with running_program(tmp_path, settings=settings) as running:
        with wire(running.base_url), wire(running.base_url) as half, wire(running.base_url) as kept:
            half.send(request("POST", "/emit", "Content-Length: 100") + b"{")
            kept.send(request("GET", "/health"))
            assert kept.reply().status == 200
            running.signal(signal.SIGTERM)
            assert running.ended(END_S) == 0
        assert "Traceback" not in running.err


def test_a_second_signal_waits_for_no_client(tmp_path: Path) -> None:
    settings = {"TOCSIN_SERVER_BODY_DEADLINE_S": "60", "TOCSIN_SERVER_SHUTDOWN_S": "60"}
    with running_program(tmp_path, settings=settings) as running, wire(running.base_url) as half:
        half.send(request("POST", "/emit", "Content-Length: 100") + b"{")
        running.signal(signal.SIGTERM)
        deadline_s = time.monotonic() + END_S
        while is_let_in(running.base_url):
            assert time.monotonic() < deadline_s, "it does not stop"
        running.signal(signal.SIGTERM)
        assert running.ended(END_S) == 0


def is_let_in(base_url: str) -> bool:
    """Return whether connections are still taken."""
    try:
        with wire(base_url):
            return True
    except ConnectionError:
        return False
