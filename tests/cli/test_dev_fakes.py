"""``tocsin dev fakes``: the fakes as a program, for a gateway beside it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import pytest

from fakes.calls import call, post
from program import DEADLINE_S, environment, run_program
from tocsin.bootstrap import LIMITS
from tocsin.settings import settings_model

pytestmark = pytest.mark.acceptance

FREE = ("--page-port", "0", "--discord-port", "0", "--telegram-port", "0", "--smtp-port", "0")


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Run the command on free ports; yield it and its output."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "dev", "fakes", *FREE, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    watchdog = threading.Timer(DEADLINE_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield process, process.stdout
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_settings_of_a_gateway_and_ends_quietly(number: signal.Signals) -> None:
    with started() as (process, out):
        assert out.readline().startswith("# What arrives is shown at http://127.0.0.1:")
        settings = dict(out.readline().strip().split("=", 1) for _ in range(4))
        process.send_signal(number)
        rest, said = process.communicate(timeout=DEADLINE_S)

    known = {f"TOCSIN_{name.upper()}" for name in settings_model(LIMITS).model_fields}
    assert set(settings) <= known
    assert settings["TOCSIN_DISCORD_API_BASE"].endswith("/api/v10")
    assert settings["TOCSIN_OUTBOUND_ALLOW"] == "127.0.0.0/8"
    assert (process.returncode, rest, said) == (0, "", "it goes on until Ctrl-C\n")


@pytest.mark.parametrize("option", [("--json",), ("--output", "json")])
def test_as_json_it_tells_where_everything_is(option: tuple[str, ...]) -> None:
    with started(*option) as (process, out):
        told = json.loads(out.readline())
        base = told["settings"]["TOCSIN_DISCORD_API_BASE"]
        assert post(f"{base}/webhooks/1/t", {"content": "hello from a gateway"}).status == 204
        page = call("GET", told["page"])
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)

    assert "hello from a gateway" in page.body.decode()
    assert (process.returncode, said) == (0, "")


def test_an_open_page_does_not_keep_it_from_ending() -> None:
    with started("--json") as (process, out):
        host, port = json.loads(out.readline())["page"].removeprefix("http://").rstrip("/").split(":")
        with socket.create_connection((host, int(port)), DEADLINE_S) as browser:
            browser.sendall(f"GET /changes HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            browser.settimeout(DEADLINE_S)
            told = b""
            while b"data: " not in told:
                told += browser.recv(4096)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, said) == (0, "")


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_program("dev", "fakes", *FREE[:-2], "--smtp-port", port)

    assert done.status == 4
    assert done.err.startswith("tocsin: cannot listen: Address already in use")
    assert port in done.err
    assert done.err.endswith("; choose another port, or 0\n")
