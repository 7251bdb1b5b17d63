"""Secrets that were given, in right requests and in wrong ones, are found nowhere but in secret.key."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gateway import STOP_S, Answer, Process, Receiver
from program import run_program
from surface import SURFACE, credentials
from tenants import Tenant, as_json, incident, signed

pytestmark = pytest.mark.acceptance

ORDER = as_json({"event_type": "order.created"})


def canary(name: str) -> str:
    """Return a secret that can be told from all others."""
    return f"canary-{name.replace(' ', '-')}-{secrets.token_hex(12)}"


@dataclass(slots=True)
class Overheard(Process):
    """A gateway of which every word is kept.

    Attributes:
        said: what it wrote to its standard output after it was ready.
    """

    said: str = ""

    def _close(self) -> int:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.wait(STOP_S)
        self.said += self._process.stdout.read()
        return Process._close(self)


@dataclass(slots=True)
class Traffic:
    """All that is sent, and all answers but those that show a secret this once.

    Attributes:
        secrets: what must not be found, by name.
    """

    tenant: Tenant
    secrets: dict[str, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    def secret(self, name: str, value: str | None = None) -> str:
        """Return a new secret, or keep this one."""
        self.secrets[name] = canary(name) if value is None else value
        return self.secrets[name]

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request whose answer must show no secret."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self.tenant.ask(method, path, body, named)
        self.answers.append(answer)
        return answer

    def take(self, name: str, method: str, path: str, member: str, body: Any = None) -> dict[str, Any]:
        """Send a request whose answer shows a secret this once; keep the secret."""
        answer = self.tenant.ask(method, path, body)
        assert answer.status in (200, 201), answer
        told: dict[str, Any] = answer.json
        self.secret(name, told[member])
        return told


@pytest.fixture(name="receiver")
def _receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def test_no_secret_is_found_in_output_files_or_answers(
    tmp_path: Path, receiver: Receiver, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    keys = run_program("init", "--data", str(data), "--json").json
    token = canary("gateway-token")
    settings = {"TOCSIN_LOG_LEVEL": "debug", "TOCSIN_LOG_FORMAT": "json", "TOCSIN_PUSHGO_TOKEN": token}
    process = Overheard(data, settings)
    process.start()
    try:
        traffic = Traffic(Tenant(process, keys["api_key"]))
        traffic.secrets |= {"api key": keys["api_key"], "operator key": keys["operator_key"], "gateway token": token}
        send_everything(traffic, receiver, token)
        while_it_runs = contents(data)
        assert while_it_runs.keys() >= {"tocsin.db", "tocsin.db-wal", "tocsin.lock"}
    finally:
        status = process.stop()
    assert status == 0
    written = capfd.readouterr()
    key_file = (data / "secret.key").read_text("ascii").strip()

    places: dict[str, bytes] = {f"{name} while it runs": text for name, text in while_it_runs.items()}
    places |= {f"{name} afterwards": text for name, text in contents(data).items()}
    places |= {"stdout": process.said.encode(), "stderr": written.err.encode(), "test's stdout": written.out.encode()}
    for number, answer in enumerate(traffic.answers):
        places[f"answer {number}"] = answer.body + repr(answer.headers).encode()
    assert "attempt_made" in written.err, "the log was not read"
    assert any(b'"***"' in answer.body for answer in traffic.answers), "nothing was masked"
    found = [
        (name, place)
        for name, secret in {**traffic.secrets, "secret.key": key_file}.items()
        for place, text in places.items()
        if secret.encode() in text
    ]
    assert found == []


def contents(data: Path) -> dict[str, bytes]:
    """Return the files of a data directory, but for the one that holds the key."""
    return {path.name: path.read_bytes() for path in data.iterdir() if path.name != "secret.key"}


def test_a_secret_that_is_kept_would_be_found(tmp_path: Path) -> None:
    process = Overheard(tmp_path / "data")
    process.start()
    try:
        shown = canary("name")
        device = process.request("POST", "/device/register", {"platform": "ios"}).json["data"]["device_key"]
        subscription = {"device_key": device, "channel_name": shown, "password": "pass-1234"}
        assert process.request("POST", "/channel/subscribe", subscription).status == 200
        assert any(shown.encode() in text for text in contents(tmp_path / "data").values())
    finally:
        process.stop()


# -- the traffic -------------------------------------------------------------------------------------------


def send_everything(traffic: Traffic, receiver: Receiver, token: str) -> None:
    """Give every kind of secret to the gateway, in right requests and in wrong ones."""
    send_to_pushgo(traffic, token)
    send_to_destinations(traffic, receiver)
    send_account(traffic)
    send_tokens(traffic)
    send_wrong_credentials(traffic)
    receiver.wait_for(3)
    for path in ("destinations", "endpoints", "channels", "account", "keys", "events", "organisations", "orgs"):
        traffic.send("GET", f"/api/v1/{path}")
    for each in traffic.send("GET", "/api/v1/deliveries").json["deliveries"]:
        traffic.send("GET", f"/api/v1/deliveries/{each['id']}")
    for each in traffic.send("GET", "/api/v1/events").json["events"]:
        assert traffic.send("GET", f"/api/v1/events/{each['id']}").status == 200


def send_to_pushgo(traffic: Traffic, token: str) -> None:
    password, wrong = traffic.secret("password"), traffic.secret("wrong password")
    made = traffic.send("POST", "/api/v1/channels", {"name": "ops", "password": password})
    channel = made.json["id"]
    bearer = {"Authorization": f"Bearer {token}"}
    sound = incident(channel, password)
    for changes in ({}, {"password": wrong}, {"title": 7}, {"unknown": password}, {password: 1}, {"severity": "odd"}):
        answer = traffic.tenant.process.request("POST", "/event/create", {**sound, **changes}, headers=bearer)
        # The name of an unknown field is told, so that its sender finds it; whoever calls it like his password ...
        if password not in changes:
            traffic.answers.append(answer)
    traffic.send("POST", "/event/create", as_json(sound)[:-1], Content_Type="application/json")
    traffic.send("GET", f"/message?channel_id={channel}&password={password}&title=a")
    traffic.send("GET", f"/message?channel_id={channel}&password={wrong}&title=a")
    device = traffic.send("POST", "/device/register", {"platform": "ios"}).json["data"]["device_key"]
    traffic.send("POST", "/channel/subscribe", {"device_key": device, "channel_id": channel, "password": password})
    synced = {"device_key": device, "channels": [{"channel_id": channel, "password": wrong}]}
    traffic.send("POST", "/channel/sync", synced)
    renamed = traffic.secret("new password")
    traffic.send("PATCH", f"/api/v1/channels/{channel}", {"password": renamed})
    traffic.send("POST", "/messages/pull", {"device_key": device})


def send_to_destinations(traffic: Traffic, receiver: Receiver) -> None:
    header = traffic.secret("header of a destination")
    address = {
        "url": f"{receiver.url}/status/503",
        "headers": {"X-Token": header, "Authorization": f"Basic {header}"},
    }
    wanted = {"name": "all", "transport": "webhook", "address": address}
    made = traffic.take("secret of a destination", "POST", "/api/v1/destinations", "secret", wanted)
    path = f"/api/v1/destinations/{made['id']}"
    traffic.take("second secret of a destination", "POST", f"{path}/rotate-secret", "secret")
    traffic.send("PATCH", path, {"address": {"url": "http://10.0.0.1", "headers": {"X-Token": header}}})
    traffic.send("PATCH", path, {"address": {"url": receiver.url, "headers": {"X-Token": header + "\n"}}})
    traffic.send("POST", f"{path}/test")
    endpoint = traffic.take("secret of an endpoint", "POST", "/api/v1/endpoints", "secret", {"url": receiver.url})
    for secret in (endpoint["secret"], "whsec_wrong"):
        traffic.send("POST", f"/e/{endpoint['id']}", ORDER, **signed(secret, ORDER))
    traffic.send("POST", f"/e/{endpoint['id']}", ORDER, X_PJ_Signature=endpoint["secret"], X_PJ_Timestamp="1")
    traffic.take(
        "second secret of an endpoint", "POST", f"/api/v1/endpoints/{endpoint['id']}/rotate-secret", "secret"
    )
    webhook = {"event": "paid", "url": f"{receiver.url}/status/500", "headers": {"X-Key": header}}
    traffic.send("PUT", "/events/v2/projects/shop/webhooks/orders", webhook)
    traffic.send("GET", "/events/v2/projects/shop/webhooks/orders")
    traffic.send("POST", "/events/v2/projects/shop/events/paid", {"order": 1})
    traffic.send("POST", "/emit", {"event": "user.created", "payload": {"id": 1}})
    traffic.send("GET", "/events/v2/history/webhooks/orders")


def send_account(traffic: Traffic) -> None:
    discord = {"enabled": True, "bot_token": traffic.secret("bot token of Discord"), "user_id": "123456789012345678"}
    telegram_token = traffic.secret("bot token of Telegram", f"123456789:{'A' * 10}{secrets.token_hex(12)}x")
    telegram = {"enabled": True, "bot_token": telegram_token, "chat_id": "1"}
    assert traffic.send("PUT", "/api/v1/account", {"discord": discord, "telegram": telegram}).status == 200
    traffic.send("PUT", "/api/v1/account", {"discord": {**discord, "user_id": 7}})
    traffic.send("PUT", "/api/v1/account", {"telegram": {"bot_token": [telegram_token]}})
    hook = traffic.secret("token of a Discord webhook")
    url = f"https://discord.com/api/webhooks/123456789012345678/{hook}"
    traffic.send("PUT", "/api/v1/account", {"discord": {"enabled": True, "webhook_url": url}})
    traffic.send("POST", "/api/v1/categories/quickstart")
    traffic.send("POST", "/api/v1/event", {"category": "bug"})


def send_tokens(traffic: Traffic) -> None:
    token = traffic.take("token", "POST", "/auth/v1/service-jwt", "jwt")["jwt"]
    key = traffic.take("second key", "POST", "/api/v1/keys", "key", {"name": "second"})["key"]
    forged = traffic.secret("forged token", f"{token[:-12]}{secrets.token_hex(6)}")
    for shown in (token, forged, key):
        traffic.answers.append(traffic.tenant.process.request("GET", "/events/v2/history/webhooks/orders", key=shown))
    traffic.answers.append(traffic.tenant.process.request("POST", "/auth/v1/service-jwt", key=token))


def send_wrong_credentials(traffic: Traffic) -> None:
    """Show an unknown key to every route, and put the right one where it does not belong."""
    unknown = traffic.secret("unknown key", f"tcs_live_{secrets.token_hex(32)}")
    request = traffic.tenant.process.request
    for mounted in SURFACE:
        headers = credentials(mounted.dialect, unknown)
        traffic.answers.append(request(mounted.method, mounted.filled(), headers=headers))
    known = traffic.tenant.key
    traffic.answers += [
        request("GET", f"/nothing/{known}"),
        request("GET", f"/api/v1/nothing?key={known}"),
        request("POST", f"/api/v1/events/{known}/replay", headers={"Authorization": known}),
        request("POST", "/emit", {"event": known}, headers={"X-Buildable-Secret": f"{known} "}),
    ]
