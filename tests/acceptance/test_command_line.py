"""A day with the command line alone: set up, send by every dialect, watch, lose, recover, export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from cli.commands import Shell, shell_for
from cli.following import Following, following
from gateway import Gateway, Receiver

pytestmark = pytest.mark.acceptance

DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe", "promptjang")
PATH = "/hooks"


@pytest.fixture(name="shell")
def _shell(gateway: Gateway, tmp_path: Path) -> Shell:
    return shell_for(gateway, tmp_path / "home")


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def set_up(shell: Shell, receiver: Receiver) -> tuple[str, str, str]:
    """Make what events need; return the channel, the endpoint and its secret."""
    at_once = ("--body", '{"retry": {"schedule_s": []}}', "--quiet")
    shell.ok("destinations", "create", "app", "--webhook", f"{receiver.url}{PATH}", *at_once)
    shell.ok("categories", "create", "bug")
    shell.ok("account", "replace", '{"email": {"enabled": true, "to": ["ops@example.com"]}}')
    channel = shell.ok("channels", "create", "ops")["id"]
    # Its own deliveries go elsewhere, so that "app" gets each event once.
    endpoint = shell.ok("endpoints", "create", f"{receiver.url}/endpoint", "--quiet")
    return channel, endpoint["id"], endpoint["secret"]


def send_by_each(shell: Shell, channel: str, endpoint: str, secret: str) -> None:
    """Send an event by each dialect."""
    shell.ok(
        "event", "create", "--channel", channel, "--title", "Database lag", "--message", "34 s", "--status", "ongoing"
    )
    shell.ok("send", "-c", "bug", "-d", "Checkout fails", "-f", "retries=3")
    shell.run("emit", "user.created", '{"id": 7}')
    shell.ok("trigger", "nativeframe.order-paid")
    # Another order each time: the same body signed in the same second is the same request again.
    order = f'{{"event_type": "order.created", "payload": {{"order_id": "{uuid4()}"}}}}'
    shell.ok("ingest", endpoint, stdin=order, TOCSIN_SIGNING_SECRET=secret)


def told(running: Following, status: str) -> list[str]:
    """Return the dialects of the next five deliveries to ``app``, each of which came to this."""
    rows = [running.row() for _ in DIALECTS]
    assert {row["status"] for row in rows} == {status}
    return sorted(row["event"]["dialect"] for row in rows)


def test_a_day_with_the_command_line_alone(shell: Shell, receiver: Receiver) -> None:
    names = set_up(shell, receiver)
    with following(shell, "tail", "--kind", "delivery", "--destination", "app") as running:
        running.err.until("following")
        send_by_each(shell, *names)
        assert told(running, "delivered") == sorted(DIALECTS)
        receiver.wait_for(5, path=PATH)

        receiver.failing = True
        send_by_each(shell, *names)
        assert told(running, "failed") == sorted(DIALECTS)
        lost = shell.rows("events", "list", "--status", "EXPIRED", "--destination", destination(shell))
        assert {row["status"] for row in lost} == {"EXPIRED"}
        (attempt,) = [row for row in shell.rows("events", "attempts", lost[0]["id"]) if row["destination"] == "app"]
        assert attempt["status_code"] == 503

        receiver.failing = False
        (count,) = shell.rows("retry", "--since", "1h", "--destination", "app", "--dry-run")
        assert count["count"] == 5
        (row,) = shell.rows("retry", "--since", "1h", "--destination", "app", "--yes")
        assert (row["state"], row["done"], row["failed"]) == ("finished", 5, 0)
        assert told(running, "delivered") == sorted(DIALECTS)
        assert running.interrupt() == 130
    arrived = [each.headers["webhook-id"] for each in receiver.wait_for(15, path=PATH)]
    assert sorted(arrived[5:10]) == sorted(arrived[10:])

    history = [json.loads(line) for line in shell.run("export", "--since", "1h").out.splitlines()]
    assert len(history) == 10
    app = destination(shell)
    delivered = [each for event in history for each in event["deliveries"] if each["destination_id"] == app]
    assert [each["status"] for each in delivered] == ["DELIVERED"] * 10
    assert {row["id"] for row in history} == set(arrived)
    assert json.loads(shell.run("export", "--what", "config").out)["destinations"][0]["name"] == "app"


def destination(shell: Shell) -> str:
    """Return the id of ``app``."""
    found: str = shell.ok("destinations", "get", "app")["id"]
    return found
