"""A gateway and the fakes, each in a process of its own, as somebody who tries them out has them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fakes.calls import call, control
from program import DEADLINE_S, environment
from stores import Store
from tenants import tenant_of

pytestmark = pytest.mark.acceptance

ANY_PORTS = ("--page-port", "0", "--discord-port", "0", "--telegram-port", "0", "--smtp-port", "0")
FAKES = ("discord", "telegram", "smtp")
OPS = {"email": {"enabled": True, "to": ["ops@example.com"]}}


@contextmanager
def fakes_process() -> Iterator[dict[str, Any]]:
    """Run ``tocsin dev fakes``; yield what it tells of itself."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tocsin", "dev", "fakes", "--json", *ANY_PORTS],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    watchdog = threading.Timer(3 * DEADLINE_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_an_event_reaches_discord_telegram_and_a_mail_server_that_are_other_processes(store: Store) -> None:
    with fakes_process() as told, store.gateway_with(told["settings"]) as gateway:
        tenant = tenant_of(gateway)
        tenant.post("/api/v1/categories/quickstart")
        webhook = f"{told['settings']['TOCSIN_DISCORD_API_BASE']}/webhooks/7/token"
        people = {
            "discord": {"enabled": True, "webhook_url": webhook},
            "telegram": {"enabled": True, "bot_token": "123456:abc", "chat_id": 7},
        }
        tenant.put("/api/v1/account", people | OPS)
        answer = tenant.ask("POST", "/api/v1/event?wait=30", {"category": "bug", "description": "Told by all three"})
        assert (answer.status, answer.headers["tocsin-deliveries"]) == (200, "3")
        page = call("GET", told["page"]).body.decode()
        taken = [control(told["page"], name, {}).json["requests"] for name in FAKES]
    assert "ops@example.com" in page
    assert page.count("Told by all three") >= 3
    assert min(taken) >= 1


def test_one_of_three_recipients_that_is_refused_is_named_by_the_delivery(store: Store) -> None:
    with fakes_process() as told, store.gateway_with(told["settings"]) as gateway:
        tenant = tenant_of(gateway)
        tenant.post("/api/v1/categories/quickstart")
        to = [f"{name}@b.example" for name in "abc"]
        tenant.put("/api/v1/account", {"email": {"enabled": True, "to": to}})
        control(told["page"], "smtp", {"answers": [{"status": 550, "recipient": "b@b.example"}]})
        answer = tenant.ask("POST", "/api/v1/event?wait=30", {"category": "bug"})
        assert answer.status == 200
        listed: dict[str, Any] = {}
        for _ in range(1000):
            # The answer comes with the attempt's end, which is stored a moment later.
            (listed,) = tenant.get("/api/v1/deliveries")["deliveries"]
            if listed["status"] == "delivered":
                break
        shown = tenant.get(f"/api/v1/deliveries/{listed['id']}")
    said = "b@b.example: 550 5.1.1 No such user here; 2 of 3 have it"
    assert (listed["status"], listed["error"], shown["error"]) == ("delivered", said, said)


def test_without_a_mail_server_nobody_is_promised_mail(store: Store) -> None:
    with store.gateway_with({"TOCSIN_SMTP_URL": ""}) as gateway:
        tenant = tenant_of(gateway)
        tenant.post("/api/v1/categories/quickstart")
        refused = tenant.ask("PUT", "/api/v1/account", OPS)
        assert (refused.status, refused.json["code"]) == (422, "transport_unavailable")
        assert [each["name"] for each in refused.json["fields"]] == ["email.enabled"]
        answer = tenant.ask("POST", "/api/v1/event", {"category": "bug"})
        assert (answer.status, answer.json) == (
            403,
            {"message": "Please enter your discord ID in your account settings"},
        )
        kept = tenant.put("/api/v1/account", {"email": {"enabled": False, "to": ["ops@example.com"]}})
        assert kept["email"] == {"enabled": False, "to": ["ops@example.com"]}
