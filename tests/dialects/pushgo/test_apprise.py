"""A plain client: apprise, told by its URL which members to send."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

import apprise
import pytest

import exchanges


def post(gateway: exchanges.Gateway, key: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a successful answer."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(gateway.base_url + path, json.dumps(body).encode(), headers)
    with urlopen(request, timeout=10) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


# Apprise loads its plugins on first use, and one of them imports a module that Python is going to drop.
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_apprise_creates_an_event(gateway: exchanges.Gateway) -> None:
    key = gateway.new_organisation()["key"]
    device = post(gateway, key, "/device/register", {"platform": "android"})["device_key"]
    made = {"device_key": device, "channel_name": "alerts", "password": "pass-1234"}
    channel = post(gateway, key, "/channel/subscribe", made)["channel_id"]

    sender = apprise.Apprise()
    # Apprise's own members that PushGo does not know are left out by an empty name.
    sender.add(
        f"{gateway.base_url.replace('http', 'json')}/event/create?+Authorization=Bearer%20{key}"
        f"&:channel_id={channel}&:password=pass-1234&:status=open&:severity=high&:event_time=1713750000"
        "&:version=&:attachments=&:type="
    )

    assert sender.notify(title="Database lag", body="Replica delay > 30s")
    (item,) = post(gateway, key, "/messages/pull", {"device_key": device})["items"]
    payload = item["payload"]
    assert (payload["title"], payload["message"], payload["severity"]) == (
        "Database lag",
        "Replica delay > 30s",
        "high",
    )
    assert payload["event_time"] == "1713750000000"
