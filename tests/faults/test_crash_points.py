"""Killed before any write or sync of accept and settle, a store has all that was answered, and nothing by halves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from faults import crash_runner

TESTS = Path(__file__).parent.parent


def _report(directory: Path, variant: str, *, step: int = 1) -> crash_runner.Report:
    done = subprocess.run(
        [sys.executable, "-m", crash_runner.__name__, str(directory), variant, str(step)],
        cwd=TESTS,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=crash_runner.Report)


def test_a_kill_at_any_point_loses_no_answer_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    report = _report(tmp_path, "careful")
    assert report.points >= 100
    assert report.survivors == 0
    assert report.acked_most >= 20
    assert (report.lost, report.halves, report.damaged) == (0, 0, 0)


def test_an_answer_before_the_commit_would_be_found_out(tmp_path: Path) -> None:
    """A negative control."""
    report = _report(tmp_path, "early", step=4)
    assert report.points >= 20
    assert report.lost > 0


def test_two_transactions_for_one_event_would_be_found_out(tmp_path: Path) -> None:
    """A negative control."""
    report = _report(tmp_path, "split", step=4)
    assert report.points >= 20
    assert report.halves > 0
    assert report.lost == 0
