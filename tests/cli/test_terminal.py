"""What a person at a terminal sees: questions, tables, bars."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest

from cli.commands import Shell
from gateway import Gateway
from program import DEADLINE_S

pytestmark = pytest.mark.acceptance


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def at_terminal(shell: Shell, typed: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command on a terminal, typing this; return its exit status and all that it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=shell.environment | {"TERM": "xterm", "NO_COLOR": "1", **variables},
        cwd=shell.home,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    seen = b""
    # Linux ends the reading of a terminal that nobody has open any more with EIO.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 65536):
            seen += piece
    os.close(ours)
    return process.wait(DEADLINE_S), seen.decode()


def test_a_person_is_asked_before_something_is_removed(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(gateway.receiver_url, name="shop")
    status, seen = at_terminal(shell, "n\n", "destinations", "delete", "shop")
    assert (status, "would be removed" in seen) == (130, True)
    assert len(shell.rows("destinations", "list")) == 1
    status, _ = at_terminal(shell, "y\n", "destinations", "delete", "shop")
    assert status == 0
    assert shell.rows("destinations", "list") == []


def test_a_replay_says_how_many_and_shows_its_job(shell: Shell) -> None:
    for _ in range(3):
        shell.tenant.post("/emit", {"event": "order.paid", "payload": {}})
    status, seen = at_terminal(shell, "y\n", "events", "replay", "--since", "1h")
    assert (status, "3 events would be replayed. Go on?" in seen) == (0, True)
    assert "finished" in seen
    assert len(shell.rows("events", "list")) == 6


def test_a_list_is_a_table(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(gateway.receiver_url, name="shop")
    _, seen = at_terminal(shell, "", "destinations", "list")
    head, row = (_ESCAPES.sub("", line).split() for line in seen.splitlines()[:2])
    assert head[:3] == ["id", "name", "transport"]
    assert row[1:3] == ["shop", "webhook"]


def test_colour_is_there_unless_it_is_not_wanted(shell: Shell) -> None:
    options = ("doctor", "--only", "gateway")
    assert "\x1b" not in at_terminal(shell, "", *options)[1]
    assert "\x1b[32mok" in at_terminal(shell, "", *options, NO_COLOR="")[1]
