"""``tocsin run``: an incident around a command, whatever becomes of the command, the gateway and us."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from cli.commands import Shell
from program import DEADLINE_S
from tocsin.cli.sending.supervised import Tail

pytestmark = pytest.mark.acceptance

FAIL = "echo out; echo err >&2; exit 3"


def incidents(shell: Shell, state: str | None = None) -> list[Any]:
    """Return the organisation's incidents, newest first."""
    found: list[Any] = shell.tenant.get("/api/v1/incidents")["incidents"]
    return [each for each in found if state in (None, each["state"])]


def job(channel: str, script: str, *options: str) -> tuple[str, ...]:
    """Return a command that runs this script as the job ``nightly``."""
    return ("run", "--channel", channel, "--name", "nightly", *options, "--", "sh", "-c", script)


def test_a_failure_opens_another_updates_and_a_success_closes(shell: Shell) -> None:
    channel = shell.tenant.channel()
    done = shell.run(*job(channel, "echo fine"))
    assert (done.status, done.out, done.err) == (0, "fine\n", "")
    assert incidents(shell) == []

    failed = shell.run(*job(channel, FAIL, "--severity", "critical", "--tag", "backup"))
    assert (failed.status, failed.out) == (3, "out\n")
    (incident,) = incidents(shell, "ongoing")
    assert failed.err == f"err\nincident {incident['id']} is open\n"
    event = shell.tenant.get("/api/v1/events")["events"][0]
    told = shell.tenant.get(f"/api/v1/events/{event['id']}")["payload"]
    assert (told["title"], told["severity"], told["tags"]) == ("nightly fails", "critical", ["backup"])
    assert set(told["description"].splitlines()) == {"out", "err"}
    assert told["message"].startswith("exit status 3 after ")
    assert told["attrs"]["exit_status"] == 3

    again = shell.run("--quiet", *job(channel, "exit 4"))
    assert (again.status, again.err) == (4, "")
    assert [each["id"] for each in incidents(shell, "ongoing")] == [incident["id"]]

    closed = shell.run(*job(channel, "true"))
    assert (closed.status, closed.err) == (0, f"incident {incident['id']} is closed\n")
    assert incidents(shell, "ongoing") == []
    assert shell.run(*job(channel, "true")).err == ""
    shell.run(*job(channel, "exit 1"))
    assert [each["id"] != incident["id"] for each in incidents(shell, "ongoing")] == [True]


def test_jobs_have_incidents_of_their_own(shell: Shell) -> None:
    channel = shell.tenant.channel()
    run = ("run", "--channel", channel, "--")
    for script in ("exit 1", "exit 2"):
        shell.run(*run, "sh", "-c", script)
    assert len(incidents(shell, "ongoing")) == 2
    marker = shell.home / "mended"
    by_file = ("sh", "-c", f"test -e {marker}")
    shell.run(*run, *by_file)
    assert len(incidents(shell, "ongoing")) == 3
    marker.touch()
    shell.run(*run, *by_file)
    assert len(incidents(shell, "ongoing")) == 2


def test_an_incident_that_was_closed_by_hand_is_not_closed_again(shell: Shell) -> None:
    channel = shell.tenant.channel()
    for script, status, left in (("true", 0, 0), ("exit 5", 5, 1)):
        shell.run(*job(channel, "exit 1"))
        (incident,) = incidents(shell, "ongoing")
        shell.ok("event", "close", incident["id"], "--channel", channel, "-m", "by hand")
        done = shell.run(*job(channel, script))
        assert done.status == status
        assert "could not be told" not in done.err
        assert len(incidents(shell, "ongoing")) == left


def test_what_the_gateway_could_not_be_told_it_is_told_by_the_next_run(shell: Shell) -> None:
    channel = shell.tenant.channel()
    record = ("run", "--channel", channel, "--name", "nightly")
    wrong: dict[str, Any] = {"TOCSIN_KEY": "tcs_live_wrong"}
    failed = shell.run(*record, "--", "sh", "-c", "exit 7", **wrong)
    assert failed.status == 7
    assert "tocsin: the gateway could not be told that the command ended with 7: authentication failed" in failed.err
    assert incidents(shell) == []
    done = shell.run(*record, "--", "true")
    assert done.status == 0
    (incident,) = incidents(shell)
    assert incident["state"] == "closed"
    told = [shell.tenant.get(f"/api/v1/events/{each['id']}")["payload"] for each in _events(shell)]
    assert [each["attrs"]["exit_status"] for each in told] == [0, 7]


def _events(shell: Shell) -> list[Any]:
    listed: list[Any] = shell.tenant.get("/api/v1/events")["events"]
    return listed


def test_what_is_remembered_holds_no_password_and_is_nobody_elses(shell: Shell) -> None:
    channel = shell.tenant.channel()
    shell.run(*job(channel, "exit 1"), TOCSIN_URL="http://127.0.0.1:9")
    shell.run(*job(channel, "exit 1"))
    kept = sorted((shell.home / "state" / "tocsin" / "run").glob("*.json"))
    assert len(kept) == 2
    for path in kept:
        assert path.stat().st_mode & 0o777 == 0o600
        assert "pass-1234" not in path.read_text("utf-8")
        assert {"event_id", "waiting"} == set(json.loads(path.read_text("utf-8")))


def test_a_lost_answer_makes_no_second_incident(shell: Shell) -> None:
    channel = shell.tenant.channel()
    shell.run(*job(channel, "exit 1"))
    (path,) = (shell.home / "state" / "tocsin" / "run").glob("*.json")
    (event,) = _events(shell)
    sent = shell.tenant.get(f"/api/v1/events/{event['id']}")["payload"]
    # As if we had been killed between the gateway's commit and its answer.
    path.write_text(json.dumps({"event_id": None, "waiting": {"action": "create", "body": sent}}), "utf-8")
    shell.run(*job(channel, "exit 2"))
    assert len(incidents(shell)) == 1
    assert len(_events(shell)) == 2


@pytest.mark.parametrize(
    ("command", "status", "says"),
    [("no-such-program", 127, "No such file"), ("./plain-file", 126, "Permission denied")],
)
def test_a_command_that_cannot_be_started_is_a_failure_too(
    shell: Shell, command: str, status: int, says: str
) -> None:
    shell.file("plain-file", "no program")
    done = shell.run("run", "--channel", shell.tenant.channel(), "--", command)
    assert done.status == status
    assert f"{command}: {says}" in done.err
    assert len(incidents(shell, "ongoing")) == 1


def test_stdin_output_bytes_and_flags_belong_to_the_command(shell: Shell) -> None:
    channel = shell.tenant.channel()
    script = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read() + bytes([255, 0]) + sys.argv[1].encode())"
    process = subprocess.run(
        [sys.executable, "-m", "tocsin", "run", "--channel", channel, sys.executable, "-c", script, "--help"],
        input=b"in", env=shell.environment, cwd=shell.home, capture_output=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stdout) == (0, b"in\xff\x00--help")


_UNTIL_A_SIGNAL = """import signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print("ready", flush=True)
signal.sigwait([signal.SIGUSR1])
sys.exit(42)
"""


@pytest.mark.parametrize(
    ("number", "status", "opened"), [(signal.SIGTERM, 143, 1), (signal.SIGUSR1, 42, 1), (signal.SIGINT, 130, 0)]
)
def test_signals_reach_the_command(shell: Shell, number: signal.Signals, status: int, opened: int) -> None:
    run = ("run", "--channel", shell.tenant.channel(), "--", sys.executable, "-c", _UNTIL_A_SIGNAL)
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", *run],
        env=shell.environment,
        cwd=shell.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    with process.stdout:
        assert process.wait(DEADLINE_S) == status
    assert len(incidents(shell)) == opened


def test_wrong_options_stop_it_before_the_command_runs(shell: Shell) -> None:
    touch = ("--", "touch", "ran")
    shell.refused(2, "run", "--channel", "x", *touch, says="channel password missing", TOCSIN_CHANNEL_PASSWORD=None)
    assert shell.run("run", *touch).status == 2
    assert shell.run("run", "--channel", "x").status == 2
    assert not (shell.home / "ran").exists()
    assert shell.run("run", "--channel", "x", *touch).status == 0
    assert (shell.home / "ran").exists()


@pytest.mark.parametrize(
    ("written", "lines_max", "text"),
    [
        ([b"a\n", b"b\n", b"c\n"], 2, "b\nc"),
        ([b"a\n"], 0, ""),
        ([b"1234567890" * 3], 5, "34567890"),
        ([b"12345", b"67890", b"abc"], 5, "67890abc"),
        ([b"\xff\x00x"], 5, "\ufffdx"),
        ([], 5, ""),
    ],
)
def test_the_tail_is_bounded_in_lines_and_bytes(written: list[bytes], lines_max: int, text: str) -> None:
    tail = Tail(bytes_max=8)
    for chunk in written:
        tail.add(chunk)
    assert tail.text(lines_max) == text
