"""A newcomer's two minutes: each command of the quick start, in order, up to the event that arrives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from docs import shell
from docs.pages import ROOT, block, blocks
from program import Running, environment

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "make"))), reason="needs bash, curl and make"),
]

PAGE = ROOT / "docs" / "quickstart.md"
TOCSIN = ".venv/bin/tocsin"


def test_the_quick_start_leads_to_an_event_that_arrives(tmp_path: Path) -> None:
    told = blocks(PAGE)
    assert block(PAGE, "bash start").split() == ["make", "run"]
    arguments = f"ARGS=--port 0 --data {tmp_path / 'tried'}"
    process = subprocess.Popen(
        # What is installed already is not installed again, and the port is a free one.
        ["make", "-s", "-o", ".venv/.installed", "run", f"BIN={Path(sys.executable).parent}", arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
        start_new_session=True,
    )
    running = Running(process)
    try:
        running.wait_ready()
        key = running.out.partition("API key")[2].split()[0]
        steps = [each for each in told if TOCSIN not in each.text]
        ran = shell.run(steps, {"URL": running.base_url, "KEY": key}, tmp_path)
        shell.check(steps, ran)
        assert json.loads(ran[-2][1])["deliveries"], "the delivery is listed"
        assert json.loads(ran[-1][1])["secret"].startswith("whsec_")
        assert process.stdout is not None
        arrived = next(line for line in process.stdout if line.startswith("-->"))
        assert arrived.startswith(block(PAGE, "text arrives").strip())
        assert "signature right" in arrived
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        running.close()


def test_the_command_for_real_use_prints_the_keys(tmp_path: Path) -> None:
    (step,) = [each for each in blocks(PAGE) if TOCSIN in each.text]
    command = step.text.replace(TOCSIN, f"{sys.executable} -m tocsin")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert {"organisation_id", "api_key", "operator_key", "data"} <= set(json.loads(done.stdout))


def test_the_readme_leads_to_the_quick_start_and_has_its_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = blocks(ROOT / "README.md")[0].text
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make run", "make test"]
    assert "(docs/quickstart.md)" in readme
