"""A newcomer's two minutes: each command of the quick start, in order, up to the event that arrives."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs import shell
from docs.pages import ROOT, block, blocks
from program import Running, environment
from tocsin.bootstrap import LIMITS
from tocsin.settings import settings_model

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not all(map(shutil.which, ("bash", "curl", "make"))), reason="needs bash, curl and make"),
]

PAGE = ROOT / "docs" / "quickstart.md"
README = ROOT / "README.md"
REAL = "bash real"


@contextmanager
def served(page: Path, clone: Path) -> Iterator[tuple[Running, dict[str, str]]]:
    """Run a page's block for real use as it stands, in a clone; yield the gateway and the keys that were printed."""
    (clone / ".venv").mkdir()
    (clone / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    process = subprocess.Popen(
        ["bash", "-c", f"set -e\n{block(page, REAL)}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=clone,
        # Others may have the port that the page means.
        env=environment({"TOCSIN_PORT": "0", "HOME": str(clone)}),
        start_new_session=True,
    )
    running = Running(process)
    try:
        running.wait_ready()
        yield running, json.loads(running.out.splitlines()[0])
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
        running.close()


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
        ran = shell.run(told, {"URL": running.base_url, "KEY": key}, tmp_path)
        shell.check(told, ran)
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


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: str(page.name))
def test_the_commands_for_real_use_lead_to_a_gateway_of_ones_own(tmp_path: Path, page: Path) -> None:
    with served(page, tmp_path) as (running, keys):
        assert {"organisation_id", "api_key", "operator_key", "data"} == set(keys)
        request = urllib.request.Request(
            f"{running.base_url}/api/v1/events", headers={"Authorization": f"Bearer {keys['api_key']}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert json.load(answer)["events"] == []
    assert (tmp_path / keys["data"]).is_dir()


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: str(page.name))
def test_they_leave_the_data_of_make_run_alone(page: Path) -> None:
    tried = settings_model(LIMITS).model_fields["data"].default
    lines = [shlex.split(line, comments=True) for line in block(page, REAL).splitlines()]
    named = [Path(words[words.index("--data") + 1]) for words in lines if words[0] == "tocsin"]
    assert len(named) == 2
    assert Path(tried) not in named


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq")
def test_the_readmes_lines_run_behind_it(tmp_path: Path) -> None:
    with served(README, tmp_path) as (running, keys):
        variables = {
            "URL": running.base_url,
            "KEY": keys["api_key"],
            "HOME": str(tmp_path),
            "WEBHOOK_URL": "http://127.0.0.1:9/api/webhooks/1/token",
        }
        (_, made), (_, said) = shell.run(blocks(README), variables, tmp_path)
    assert json.loads(made)["secret"].startswith("whsec_")
    documents = [json.loads(line) for line in said.splitlines()]
    assert next(each["status"] for each in documents if each.get("event_id")) == "accepted"
    assert next(each["accepted"] for each in documents if "fixture" in each) == 100
    assert documents[-1]["event_type"] == "user.created"
    assert (tmp_path / "copy" / "tocsin.db").is_file()


def test_the_readme_leads_to_the_quick_start_and_has_its_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    first = blocks(ROOT / "README.md")[0].text
    assert [line.split("#")[0].strip() for line in first.splitlines()] == ["make run", "make test"]
    assert "(docs/quickstart.md)" in readme
