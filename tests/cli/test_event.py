"""``tocsin event``: an incident's life, and where the channel's password comes from."""

from __future__ import annotations

import pytest

from cli.commands import Shell, event_data
from tenants import PASSWORD

pytestmark = pytest.mark.acceptance


def test_an_incident_is_opened_updated_and_closed(shell: Shell) -> None:
    channel = shell.tenant.channel()
    opened = shell.ok(
        "event", "create", "--channel", channel, "--title", "Database lag", "-m", "Delay > 30s", "--severity", "high",
        "--tag", "db", "--tag", "eu", "--attr", "delay_s=34", "--metadata", "host=db1",
        "--time", "2026-03-06T10:30:00Z", "--started-at", "2026-03-06T10:00:00Z", "--thing-id", "db1",
        "--op-id", "op-1",
    )  # fmt: skip
    assert (opened["channel_id"], opened["op_id"], opened["thing_id"]) == (channel, "op-1", "db1")
    assert event_data(shell.tenant, opened["event_id"]) == {
        "channel_id": channel,
        "title": "Database lag",
        "status": "ongoing",
        "message": "Delay > 30s",
        "severity": "high",
        "event_time": 1772793000000,
        "started_at": 1772791200000,
        "tags": ["db", "eu"],
        "attrs": {"delay_s": 34},
        "metadata": {"host": "db1"},
        "thing_id": "db1",
        "op_id": "op-1",
    }
    incident = opened["event_id"]
    shell.ok("event", "update", incident, "--channel", channel, "-m", "falling", "--attr", "delay_s=null")
    assert shell.tenant.get(f"/api/v1/incidents/{incident}")["state"] == "ongoing"
    closed = shell.ok("event", "close", incident, "--channel", channel, "-m", "-", stdin="caught up\n")
    assert closed["event_id"] == incident
    assert shell.tenant.get(f"/api/v1/incidents/{incident}")["state"] == "closed"


def test_the_password_comes_from_a_file_or_from_stdin(shell: Shell) -> None:
    channel = shell.tenant.channel()
    create = ("event", "create", "--channel", channel, "--title", "t", "-m", "m")
    path = shell.file("password", f"{PASSWORD}\n")
    shell.ok(*create, "--password-file", path, TOCSIN_CHANNEL_PASSWORD=None)
    shell.ok(*create, "--password-file", "-", stdin=PASSWORD, TOCSIN_CHANNEL_PASSWORD="wrong-1234")
    shell.ok(*create, TOCSIN_CHANNEL_PASSWORD=None, TOCSIN_EVENT_CREATE_PASSWORD_FILE=path)


@pytest.mark.parametrize(
    ("password", "status", "says"),
    [
        (None, 2, "channel password missing; give it in TOCSIN_CHANNEL_PASSWORD or with --password-file"),
        ("wrong-1234", 6, "invalid channel password (403)"),
        ("short", 8, "password length"),
    ],
)
def test_a_wrong_password_is_told_and_not_repeated(
    shell: Shell, password: str | None, status: int, says: str
) -> None:
    channel = shell.tenant.channel()
    line = shell.refused(
        status, "event", "create", "--channel", channel, "--title", "t", "-m", "m", says=says,
        TOCSIN_CHANNEL_PASSWORD=password,
    )  # fmt: skip
    assert password is None or password not in line


def test_what_does_not_exist_is_not_found(shell: Shell) -> None:
    channel = shell.tenant.channel()
    shell.refused(7, "event", "close", "0" * 32, "--channel", channel, "-m", "m", says="event not found (404)")
    wrong = "0" * 26
    shell.refused(7, "event", "create", "--channel", wrong, "--title", "t", "-m", "m", says="channel not found (404)")
    shell.refused(8, "event", "create", "--channel", channel, "-m", "m", says="title, status, message and severity")


def test_a_password_file_that_is_not_there_is_told(shell: Shell) -> None:
    create = ("event", "create", "--channel", "x", "--title", "t", "-m", "m", "--password-file", "nowhere")
    shell.refused(2, *create, says="nowhere cannot be read: No such file")
