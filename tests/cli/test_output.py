"""Output that nobody takes, and text that would not stay in its place."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cli.commands import Shell
from program import DEADLINE_S
from tocsin.cli.client.output import json_text, one_line
from tocsin.cli.exits import FAILED, PIPE_CLOSED
from tocsin.cli.faults import visible

PROGRAM = (sys.executable, "-m", "tocsin")
WRITING = pytest.mark.parametrize(
    "arguments",
    [("--help",), ("events", "--help"), ("events", "list"), ("events", "list", "--output", "table"), ("whoami",)],
    ids=" ".join,
)


def ended(shell: Shell, stdout: int, *arguments: str) -> tuple[int, str]:
    """Return how a command ends whose output goes there, and what it says to that."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=DEADLINE_S,
        env=shell.environment,
    )
    return done.returncode, done.stderr.decode()


@pytest.mark.acceptance
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")  # noqa: PTH110
@WRITING
def test_a_full_disk_is_no_fault_of_ours(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.tenant.post("/emit", {"event": "order.paid", "payload": {}})
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        status, said = ended(shell, full, *arguments)
    finally:
        os.close(full)
    assert (status, said) == (FAILED, "tocsin: the output cannot be written: No space left on device\n")


@pytest.mark.acceptance
@WRITING
def test_a_reader_who_has_gone_is_not_talked_about(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.tenant.post("/emit", {"event": "order.paid", "payload": {}})
    reading, writing = os.pipe()
    os.close(reading)
    try:
        assert ended(shell, writing, *arguments) == (PIPE_CLOSED, "")
    finally:
        os.close(writing)


@pytest.mark.acceptance
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_as_good_as_nowhere(shell: Shell, closed: str) -> None:
    kept = shell.home / "kept"
    script = f'"{sys.executable}" -m tocsin export --what config --quiet {closed}; echo $? > {kept}'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, check=False, timeout=DEADLINE_S, env=shell.environment
    )
    assert (kept.read_text(), done.stderr) == ("0\n", b"")


TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("character", TURNING, ids=ascii)
def test_a_text_that_would_be_read_the_other_way_round_is_shown_as_it_is(character: str) -> None:
    shown = f"\\u{ord(character):04x}"
    assert visible(f"gpj{character}.exe") == f"gpj{shown}.exe"
    assert json_text({"a": character}) == f'{{"a":"{shown}"}}'
    assert one_line(json.dumps(character, ensure_ascii=False).encode()) == f'"{shown}"'


def test_other_alphabets_stay_as_they_are() -> None:
    text = "שלום مرحبا 日本 zero\u200dwidth"
    assert visible(text) == text
    assert json.loads(json_text(text)) == text
    assert json_text(text) == f'"{text}"'
