"""Clients that nobody here wrote, pointed at the gateway by their URL alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from gateway import Gateway

pytestmark = pytest.mark.acceptance

APPRISE = Path(sys.executable).parent / "apprise"


def _apprise(gateway: Gateway, path: str, fields: dict[str, str], *, title: str, body: str) -> None:
    """Run the public command with a ``json://`` URL; fields named ``:x`` go into its payload, ``+x`` are headers."""
    url = f"json://{gateway.base_url.removeprefix('http://')}{path}?{urlencode(fields, safe=':+', quote_via=quote)}"
    done = subprocess.run(
        [str(APPRISE), "-vv", "-t", title, "-b", body, url], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _receiving(gateway: Gateway, key: str, path: str) -> None:
    destination = {"name": "all", "transport": "webhook", "address": {"url": gateway.receiver_url + path}}
    assert gateway.process.request("POST", "/api/v1/destinations", destination, key=key).status == 201


def test_apprise_creates_a_pushgo_event(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    _receiving(gateway, key, "/apprise/pushgo")
    channel = gateway.process.request("POST", "/api/v1/channels", {"name": "ops", "password": "pass-1234"}, key=key)
    fields = {
        ":version": "",
        ":attachments": "",
        ":type": "",
        ":channel_id": channel.json["id"],
        ":password": "pass-1234",
        ":status": "ongoing",
        ":severity": "high",
        ":event_time": str(int(time.time())),
        "+Authorization": f"Bearer {key}",
    }

    _apprise(gateway, "/event/create", fields, title="Database lag", body="Replica delay > 30s")

    (arrival,) = gateway.receiver.wait_for(1, path="/apprise/pushgo")
    told = json.loads(arrival.body)
    assert (told["title"], told["message"], told["severity"]) == ("Database lag", "Replica delay > 30s", "high")
    assert "password" not in told


def test_apprise_sends_a_pingpilot_event(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    request = gateway.process.request
    _receiving(gateway, key, "/apprise/pingpilot")
    assert request("POST", "/api/v1/categories/quickstart", {}, key=key).status in (200, 201)
    account = {"email": {"enabled": True, "to": ["ops@example.com"]}}
    assert request("PUT", "/api/v1/account", account, key=key).status == 200
    fields = {
        ":version": "",
        ":attachments": "",
        ":type": "",
        ":title": "category",
        ":message": "description",
        "+Authorization": f"Bearer {key}",
    }

    _apprise(gateway, "/api/v1/event", fields, title="bug", body="Checkout fails")

    (arrival,) = gateway.receiver.wait_for(1, path="/apprise/pingpilot")
    assert json.loads(arrival.body) == {"category": "bug", "description": "Checkout fails"}
