"""People are told: by Discord, Telegram and mail, through a real gateway, at fakes with the real ones' limits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from people import ADDRESSES, PATIENCE_S, House, Street, street_with
from stores import Store
from tenants import incident
from tocsin.fakes import Answer, Rate

pytestmark = pytest.mark.acceptance

RATE = Rate(limit=20, window_s=0.2)
"""What a webhook takes: in the proportion of the real one's, and ten times as fast."""
BURST = 1000
QUICK = {"schedule_s": [0.2] * 40, "jitter": 0}

PYTHON = """
import os
import requests

def send_event(category, description=None, fields=None):
    response = requests.post(
        'https://pingpilot.app/api/v1/event',
        headers={
            'Authorization': f'Bearer {os.environ["PINGPILOT_API_KEY"]}',
            'Content-Type': 'application/json'
        },
        json={
            'category': category,
            'description': description,
            'fields': fields or {}
        }
    )
    response.raise_for_status()
    return response.json()

# Usage
send_event('bug', 'Database connection failed', {
    'severity': 'high',
    'service': 'api-server'
})
"""
JAVASCRIPT = """
const sendEvent = async (category, description, fields = {}) => {
  const response = await fetch('https://pingpilot.app/api/v1/event', {
    method: 'POST',
    headers: {
      'Authorization': `Bearer ${process.env.PINGPILOT_API_KEY}`,
      'Content-Type': 'application/json'
    },
    body: JSON.stringify({ category, description, fields })
  });

  if (!response.ok) {
    const error = await response.json();
    throw new Error(`PingPilot error: ${error.message}`);
  }

  return await response.json();
};

// Usage
await sendEvent('bug', 'Database connection failed', {
  severity: 'high',
  service: 'api-server'
});
"""
"""The published documentation's own examples, to the character."""
EXAMPLE = {
    "category": "bug",
    "description": "Critical database connection error",
    "fields": {"severity": "high", "service": "api-server", "error_code": "ECONNREFUSED", "retry_count": 3},
}
"""That documentation's request, and below what it shows of it."""
TELEGRAM_TEXT = """🎉 Event Notification 🎉

📌 Category: 🐛 Bug
📝 Description: Critical database connection error
🎨 Color Code: 16711680
🕒 Timestamp: {time}

📌 Details:
🔹 severity: high
🔹 service: api-server
🔹 error_code: ECONNREFUSED
🔹 retry_count: 3"""


@pytest.fixture(name="street", scope="module")
def _street(store: Store) -> Iterator[Street]:
    with street_with(store, RATE) as street:
        yield street


@pytest.fixture(name="house")
def _house(street: Street) -> House:
    return House(street)


def run_snippet(house: House, command: list[str]) -> None:
    """Run a client in a process of its own."""
    environment = {**os.environ, "PINGPILOT_API_KEY": house.tenant.key}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_what_the_published_examples_send_is_told_by_all_three(house: House, tmp_path: Path, language: str) -> None:
    house.account()
    code, name, runtime = {
        "python": (PYTHON, "send.py", sys.executable),
        "javascript": (JAVASCRIPT, "send.mjs", "node"),
    }[language]
    file = tmp_path / name
    file.write_text(code.replace("https://pingpilot.app", house.street.gateway.base_url))
    run_snippet(house, [runtime, str(file)])
    house.until_told(1, 1, 1)
    (embed,) = house.discord[0].embeds
    timestamp = embed.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", timestamp)
    assert {name: value for name, value in embed.items() if name != "type"} == {
        "title": "🐛 Bug",
        "description": "Database connection failed",
        "color": 16711680,
        "fields": [
            {"name": "severity", "value": "high", "inline": True},
            {"name": "service", "value": "api-server", "inline": True},
        ],
    }
    assert house.telegram[0].text.splitlines()[5] == f"🕒 Timestamp: {timestamp}"
    assert house.mails[0].subject == "PingPilot Alert"


def test_the_published_request_is_told_as_published(house: House) -> None:
    house.account()
    house.tenant.post("/api/v1/event", EXAMPLE)
    house.until_told(1, 1, 1)
    (embed,) = house.discord[0].embeds
    assert [(each["name"], each["value"], each["inline"]) for each in embed["fields"]] == [
        ("severity", "high", True),
        ("service", "api-server", True),
        ("error_code", "ECONNREFUSED", True),
        ("retry_count", "3", True),
    ]
    assert house.telegram[0].text == TELEGRAM_TEXT.format(time=embed["timestamp"])
    (mail,) = house.mails
    for part in (mail.text, mail.html):
        assert part is not None
        assert all(
            word in part for word in ("Bug", "database connection", "error_code", "ECONNREFUSED", "retry_count")
        )
    assert "#ff0000" in (mail.html or "").lower()
    assert mail.sender == "alerts@tocsin.example"
    assert mail.header("Auto-Submitted") == "auto-generated"


def test_a_remote_that_is_away_delays_itself_alone(house: House) -> None:
    house.account()
    house.change("discord", retry=QUICK)
    house.street.leave()
    try:
        house.tenant.post("/api/v1/event", EXAMPLE)
        house.until_told(0, 1, 1)
    finally:
        house.street.leave(back=True)
    house.until_told(1, 1, 1)


@pytest.mark.parametrize("transport", ["discord", "telegram"])
def test_a_429_is_heeded_to_the_end_and_no_retry_is_used_up(house: House, transport: str) -> None:
    house.destination(transport, retry={"schedule_s": [], "jitter": 0})
    remote = getattr(house.street.fakes, transport)
    since_s = time.monotonic()
    house.street.call(lambda: remote.script(Answer(status=429, retry_after=1.5)))
    house.tenant.post("/emit", {"event": "order.paid", "payload": {"a": 1}})
    house.street.until(lambda: bool(house.discord or house.telegram), "it was told at last")
    # Whether somebody has written to a bot is asked all the time, and has nothing to do with this.
    of_it = [each for each in remote.requests if each.at_s >= since_s and "getUpdates" not in each.target]
    assert [each.status for each in of_it] == [429, 200], "nothing came in between"
    refused, told = of_it
    assert told.at_s - refused.at_s >= 1.5


def test_what_a_429_put_off_is_told_before_what_is_newer(house: House) -> None:
    house.destination("discord")
    house.street.call(lambda: house.street.fakes.discord.script(Answer(status=429, retry_after=0.5)))
    for number in range(30):
        house.tenant.post("/emit", {"event": f"number.{number}", "payload": {}})
    house.until_told(30, 0, 0)
    told = [re.search(r"\d+", each.embeds[0]["title"]) for each in house.discord]
    assert [int(each.group()) for each in told if each is not None] == list(range(30))
    assert [each.status for each in house.at_discord()] == [429, *[200] * 30]


def test_a_burst_arrives_whole_and_in_order_and_is_never_refused(house: House) -> None:
    house.account()
    house.tenant.put("/api/v1/account", {"discord": {"enabled": True, **house.address("discord")}})
    host, _, port = house.street.gateway.base_url.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=PATIENCE_S)
    headers = {"Authorization": f"Bearer {house.tenant.key}", "Content-Type": "application/json"}
    for number in range(BURST):
        body = json.dumps({"category": "bug", "description": f"number {number}"})
        connection.request("POST", "/api/v1/event", body, headers)
        answer = connection.getresponse()
        assert answer.read() is not None
        assert answer.status == 200
    connection.close()
    house.street.until(lambda: len(house.discord) >= BURST, f"{BURST} messages")
    assert [each.embeds[0]["description"] for each in house.discord] == [
        f"number {number}" for number in range(BURST)
    ]
    requests = house.at_discord()
    assert {each.status for each in requests} == {200}
    took_s = requests[-1].at_s - requests[0].at_s
    assert took_s >= (BURST / RATE.limit - 1) * RATE.window_s, "without a limit that binds, none is kept to"


def _incident_goes_on(house: House, *told: tuple[int, int, int]) -> None:
    """Create, update and close an incident, each once the one before was told; ``told`` is how often it was."""
    channel = house.tenant.channel()
    created = house.tenant.post("/event/create", incident(channel))["data"]["event_id"]
    house.until_told(*told[0])
    house.tenant.post("/event/update", incident(channel, event_id=created, status="worse", title="It is worse"))
    house.until_told(*told[1])
    house.street.until(lambda: all("worse" in _shown(house, each) for each in range(3)), "all know that it is worse")
    house.tenant.post("/event/close", incident(channel, event_id=created, status="closed", message="all is well"))
    house.until_told(*told[2])
    house.street.until(lambda: all("all is well" in _shown(house, each) for each in range(3)), "all know its end")


def _shown(house: House, which: int) -> str:
    """Return what the last message in one of the three says."""
    if which == 0:
        return json.dumps(house.discord[-1].embeds)
    return house.telegram[-1].text if which == 1 else house.mails[-1].text or ""


def _told(house: House, transport: str) -> tuple[int, int]:
    """Return how many messages there are, and how often they were edited in all."""
    found: list[Any] = getattr(house, transport)
    return len(found), sum(each.edits for each in found)


def test_an_incidents_message_is_edited_and_its_mails_are_a_thread(house: House) -> None:
    for transport in ADDRESSES:
        house.destination(transport, filter={"dialects": ["pushgo"]})
    _incident_goes_on(house, (1, 1, 1), (1, 1, 2), (1, 1, 3))
    assert (house.discord[0].edits, house.telegram[0].edits) == (2, 2)
    first, *later = house.mails
    assert [each.header("In-Reply-To") for each in later] == [first.header("Message-ID")] * 2
    assert all(first.header("Message-ID") in each.header("References") for each in later)


def test_an_incident_is_posted_where_that_is_asked_for(house: House) -> None:
    for transport in ADDRESSES:
        house.destination(transport, incidents="post")
    _incident_goes_on(house, (1, 1, 1), (2, 2, 2), (3, 3, 3))
    assert [each.edits for each in house.discord] + [each.edits for each in house.telegram] == [0] * 6


@pytest.mark.parametrize("transport", ["discord", "telegram"])
def test_an_older_event_that_is_retried_by_hand_leaves_the_message_as_it_stands(house: House, transport: str) -> None:
    house.destination(transport)
    which = ADDRESSES.index(transport)
    channel = house.tenant.channel()
    created = house.tenant.post("/event/create", incident(channel))["data"]["event_id"]
    house.street.until(lambda: _told(house, transport) == (1, 0), "it is told")
    for step, said in (("update", "worse"), ("close", "all is well")):
        house.tenant.post(f"/event/{step}", incident(channel, event_id=created, message=said))
        house.street.until(lambda said=said: said in _shown(house, which), said)  # type: ignore[misc]
    listed = house.tenant.get("/api/v1/deliveries")["deliveries"]
    closed, updated, opened = [f"/api/v1/deliveries/{each['id']}" for each in listed]
    for path in (updated, opened, closed):
        house.street.until(lambda path=path: house.tenant.get(path)["finished_at"], "the first try is recorded")  # type: ignore[misc]
        house.tenant.post(f"{path}/retry")
        house.street.until(lambda path=path: len(house.tenant.get(path)["attempts"]) == 2, "tried again")  # type: ignore[misc]
    # What stands already is no edit to Telegram.
    edits = 3 if transport == "discord" else 2
    assert _told(house, transport) == (1, edits), "of what was tried again only the last is told"
    assert "all is well" in _shown(house, which)
    again = house.tenant.get(updated)
    assert again["status"] == "delivered"
    assert "a later message tells" in again["attempts"][-1]["request"]["line"]


def test_an_incident_that_becomes_critical_rings_and_is_edited_from_then_on(house: House) -> None:
    house.destination("discord")
    channel = house.tenant.channel()
    created = house.tenant.post("/event/create", incident(channel))["data"]["event_id"]
    house.until_told(1, 0, 0)
    house.tenant.post("/event/update", incident(channel, event_id=created, severity="critical"))
    house.until_told(2, 0, 0)
    house.tenant.post("/event/close", incident(channel, event_id=created, message="all is well"))
    house.street.until(lambda: "all is well" in _shown(house, 0), "the end is told")
    assert [each.edits for each in house.discord] == [0, 1]


def test_who_waits_is_told_whether_all_were_told(house: House) -> None:
    house.account()
    house.change("telegram", retry=QUICK)
    answer = house.tenant.ask("POST", "/api/v1/event?wait=20", EXAMPLE)
    assert (answer.status, answer.json["message"]) == (200, "Event processed successfully")
    assert house.told == (1, 1, 1)
    house.street.call(lambda: house.street.fakes.telegram.script(Answer(status=500)))
    answer = house.tenant.ask("POST", "/api/v1/event?wait=20", EXAMPLE)
    assert answer.status == 500
    assert answer.json == {"message": "Error processing event", "eventId": answer.json["eventId"]}
    house.until_told(2, 2, 2)


def test_quiet_hours_hold_back_what_is_not_critical(house: House) -> None:
    now = datetime.now(UTC)
    hours = {"start": f"{now - timedelta(hours=2):%H:%M}", "end": f"{now + timedelta(hours=2):%H:%M}"}
    made = house.destination("discord", quiet_hours=hours)
    channel = house.tenant.channel()
    for severity in ("high", "critical"):
        message = {"channel_id": channel, "password": "pass-1234", "title": severity, "severity": severity}
        house.tenant.post("/message", message)
    house.until_told(1, 0, 0)
    assert "critical" in house.discord[0].embeds[0]["title"]
    (held,) = house.tenant.get("/api/v1/deliveries?status=NEW")["deliveries"]
    assert held["destination"]["id"] == made["id"]
    ends = datetime.fromisoformat(held["next_attempt_at"])
    assert f"{ends:%H:%M}" == hours["end"]
    house.change("discord", quiet_hours=None)
    house.until_told(2, 0, 0)


def test_what_a_remote_tells_of_an_address_is_shown_and_used(house: House) -> None:
    address = {"bot_token": "a.b", "user_id": str(10_000 + house.number)}
    made = house.destination("discord", address=address)
    for number in range(2):
        house.tenant.post("/emit", {"event": f"told.{number}", "payload": {}})
    opened = f"channel {10_000 + house.number ^ 0x5A5A_5A5A}"

    def in_channel() -> int:
        return sum(each.place == opened for each in house.street.fakes.discord.messages)

    house.street.until(lambda: in_channel() == 2, "both messages")
    learned: dict[str, Any] = {}
    for _ in range(1000):
        learned = house.tenant.get(f"/api/v1/destinations/{made['id']}")["learned"]
        if learned:
            break
    assert learned == {"dm_channel_id": opened.removeprefix("channel ")}
    asked = [each for each in house.street.fakes.discord.requests if each.target.endswith("/users/@me/channels")]
    assert len(asked) == 1
