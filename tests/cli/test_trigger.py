"""``tocsin trigger``: samples of all five dialects, one or many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from cli.commands import Shell, event_data
from gateway import Gateway
from program import DEADLINE_S
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.cli.sending.samples import SAMPLES, with_overrides

pytestmark = pytest.mark.acceptance

DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe", "promptjang")


@pytest.mark.parametrize("fixture", SAMPLES)
def test_every_sample_is_accepted(shell: Shell, gateway: Gateway, fixture: str) -> None:
    dialect = fixture.partition(".")[0]
    options: tuple[str, ...] = ()
    secret = None
    if dialect == "pingpilot":
        shell.tenant.category(SAMPLES[fixture].body["category"])
    elif dialect == "pushgo":
        options = ("--channel", shell.tenant.channel())
    elif dialect == "promptjang":
        endpoint = shell.tenant.endpoint(f"{gateway.receiver_url}/triggered")
        options, secret = ("--endpoint", endpoint["id"]), endpoint["secret"]
    told = shell.ok("trigger", fixture, *options, TOCSIN_SIGNING_SECRET=secret)
    assert told["fixture"] == fixture
    assert told["elapsed_ms"] > 0
    (event,) = shell.tenant.get("/api/v1/events")["events"]
    assert "{id}" not in str(event_data(shell.tenant, event["id"]))


def test_the_list_has_several_of_each_dialect(shell: Shell) -> None:
    names = [row["fixture"] for row in shell.rows("trigger", "--list")]
    assert names == list(SAMPLES)
    for dialect in DIALECTS:
        assert len([name for name in names if name.startswith(f"{dialect}.")]) >= 2


def test_the_body_can_be_changed(shell: Shell) -> None:
    shell.ok(
        "trigger", "nativeframe.order-paid", "--override", "lines.0.sku=B-9", "--override", "note.text=rush",
        "--override", "total=7",
    )  # fmt: skip
    (event,) = shell.tenant.get("/api/v1/events")["events"]
    body = event_data(shell.tenant, event["id"])
    assert (body["lines"], body["note"], body["total"]) == ([{"sku": "B-9", "quantity": 2}], {"text": "rush"}, 7)


@pytest.mark.parametrize("override", ["novalue", "=1", "lines.7=1", "lines.x=1", "total.cents=1", "a.=1"])
def test_an_override_that_leads_nowhere_is_refused(override: str) -> None:
    body: dict[str, Any] = {"lines": [1], "total": 2}
    with pytest.raises(Failure) as raised:
        with_overrides(body, (override,))
    assert raised.value.status == USAGE
    assert body == {"lines": [1], "total": 2}


def test_many_are_sent_and_summed_up(shell: Shell) -> None:
    told = shell.ok("trigger", "buildable.user-created", "--count", "25", "--rate", "1000")
    assert (told["sent"], told["accepted"], told["failed"], told["statuses"]) == (25, 25, 0, {"200": 25})
    assert 0 < told["p50_ms"] <= told["p95_ms"] <= told["p99_ms"] <= told["max_ms"]
    assert len(shell.rows("query", "user.created", "--tx-key", "k", "--all")) == 25


@pytest.mark.parametrize(("options", "has_bar"), [((), True), (("--quiet",), False)])
def test_a_long_run_shows_a_bar_on_a_terminal_and_data_stay_data(
    shell: Shell, options: tuple[str, ...], has_bar: bool
) -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "tocsin", *options, "trigger", "buildable.user-created", "--count", "30"],
        env=shell.environment | {"TERM": "xterm"},
        cwd=shell.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=DEADLINE_S)
    try:
        told = os.read(ours, 65_536)
    except OSError:  # Linux's way to say that the other end is closed
        told = b""
    os.close(ours)
    assert json.loads(out)["accepted"] == 30
    assert (b"sending" in told) is has_bar


def test_signed_samples_differ_so_that_none_passes_for_a_repeat(shell: Shell, gateway: Gateway) -> None:
    endpoint = shell.tenant.endpoint(f"{gateway.receiver_url}/triggered")
    command = ("trigger", "promptjang.order-created", "--count", "5", "--endpoint", endpoint["id"])
    assert shell.ok(*command, TOCSIN_SIGNING_SECRET=endpoint["secret"])["accepted"] == 5
    assert len(shell.tenant.get("/api/v1/events")["events"]) == 5


def test_refusals_are_counted_and_told(shell: Shell) -> None:
    shell.tenant.category("other")
    line = shell.refused(
        7, "trigger", "pingpilot.bug", "--count", "3", says='You dont have a category named "bug" (404)'
    )
    assert "of 3" not in line
    done = shell.run("trigger", "pingpilot.bug", "--count", "3")
    assert (done.json["failed"], done.json["statuses"]) == (3, {"404": 3})


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ((), 2, "which fixture? tocsin trigger --list"),
        (("no.such",), 2, "there is no fixture no.such; tocsin trigger --list"),
        (("pushgo.disk-full",), 2, "this fixture needs --channel"),
        (("promptjang.order-created",), 2, "this fixture needs --endpoint"),
        (("pingpilot.bug", "--url", "http://127.0.0.1:9"), 5, "is it running?"),
    ],
)
def test_a_wrong_trigger_is_told(shell: Shell, arguments: tuple[str, ...], status: int, says: str) -> None:
    shell.refused(status, "trigger", *arguments, says=says)
