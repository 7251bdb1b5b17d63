"""A mail's link to get no more of them, asked of a real gateway that sends real mails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from gateway import Gateway, gateway_with
from mail_servers import MailServer
from tenants import Tenant, tenant_of

ANN, BOB = "ann@a.example", "bob@b.example"
ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture(name="running", scope="module")
def _running(server: MailServer) -> Iterator[Gateway]:
    settings = {
        "TOCSIN_SMTP_URL": f"smtp://127.0.0.1:{server.port}",
        "TOCSIN_SMTP_FROM": "Tocsin <alerts@example.com>",
        "TOCSIN_PUBLIC_URL": "https://t.example/",
    }
    with gateway_with(settings) as running:
        yield running


def made(tenant: Tenant, *to: str) -> dict[str, Any]:
    """Return a new destination that tells these."""
    body = {"name": "people", "transport": "email", "address": {"to": list(to)}}
    found: dict[str, Any] = tenant.post("/api/v1/destinations", body)
    return found


def links(tenant: Tenant, server: MailServer, destination: str, count: int) -> dict[str, str]:
    """Send a mail to a destination; return the path of each address's link."""
    before = len(server.mails)
    tenant.post(f"/api/v1/destinations/{destination}/test")
    mails = server.wait_for(before + count)[before:]
    return {each.to[0]: each.mail["List-Unsubscribe"].strip("<>").removeprefix("https://t.example") for each in mails}


def shown(tenant: Tenant, destination: str) -> tuple[list[str], bool]:
    """Return whom a destination tells, and whether it does."""
    found = tenant.get(f"/api/v1/destinations/{destination}")
    return found["address"]["to"], found["enabled"]


def test_one_click_takes_one_address_out_and_is_told(running: Gateway, server: MailServer) -> None:
    tenant = tenant_of(running)
    destination = made(tenant, ANN, BOB)["id"]
    path = links(tenant, server, destination, 2)[ANN]
    for _ in range(2):
        answer = running.process.request("POST", path, ONE_CLICK, headers=FORM)
        assert (answer.status, b"no more of these mails" in answer.body) == (200, True)
    assert shown(tenant, destination) == ([BOB], True)
    (record,) = tenant.get("/api/v1/audit?action=destination.unsubscribed")["records"]
    assert record["subject"] == destination
    assert record["summary"] == {"name": "people", "address": ANN, "disabled": False}
    assert (record["actor"]["kind"], record["client"]) == ("other", "127.0.0.1")
    assert list(links(tenant, server, destination, 1)) == [BOB]


def test_the_last_address_stays_and_the_destination_is_disabled(running: Gateway, server: MailServer) -> None:
    tenant = tenant_of(running)
    destination = made(tenant, ANN)["id"]
    path = links(tenant, server, destination, 1)[ANN]
    assert running.process.request("POST", path).status == 200
    assert shown(tenant, destination) == ([ANN], False)
    found = tenant.get(f"/api/v1/destinations/{destination}")
    assert found["disabled_reason"] == "whoever it told wants no more mails"
    assert b"<button>" not in running.process.request("GET", path).body
    (record,) = tenant.get("/api/v1/audit?action=destination.unsubscribed")["records"]
    assert record["summary"]["disabled"] is True


def test_looking_at_the_page_changes_nothing(running: Gateway, server: MailServer) -> None:
    tenant = tenant_of(running)
    destination = made(tenant, ANN, "o'neil&co@b.example")["id"]
    for address, path in links(tenant, server, destination, 2).items():
        page = running.process.request("GET", path)
        assert page.status == 200
        assert re.search(rb'<form method="post">.*<button>', page.body)
        assert (b"ann@a.example" if address == ANN else b"o&#39;neil&amp;co@b.example") in page.body
        assert running.process.request("HEAD", path).body == b""
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert "form-action 'self'; frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert shown(tenant, destination) == ([ANN, "o'neil&co@b.example"], True)


def test_an_organisation_that_loses_its_last_address_still_takes_events(running: Gateway, server: MailServer) -> None:
    tenant = tenant_of(running)
    tenant.post("/api/v1/categories", {"name": "bug", "color": "#ff6b6b"})
    tenant.put("/api/v1/account", {"email": {"enabled": True, "to": [ANN]}})
    before = len(server.mails)
    assert tenant.ask("POST", "/api/v1/event", {"category": "bug"}).status == 200
    mail = server.wait_for(before + 1)[before].mail
    assert mail["Subject"] == "PingPilot Alert"
    path = mail["List-Unsubscribe"].strip("<>").removeprefix("https://t.example")
    assert running.process.request("POST", path, ONE_CLICK, headers=FORM).status == 200
    assert tenant.ask("POST", "/api/v1/event", {"category": "bug"}).status == 200
    assert tenant.get("/api/v1/account")["email"]["enabled"] is False


@pytest.mark.parametrize("path", ["x", "A" * 86, "%00", "%C3%A9", "a" * 4000])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_of_nobodys_is_not_known(running: Gateway, method: str, path: str) -> None:
    answer = running.process.request(method, f"/unsubscribe/{path}")
    assert answer.status == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"not known" in answer.body


def test_what_is_gone_is_answered_like_what_is_done(running: Gateway, server: MailServer) -> None:
    tenant = tenant_of(running)
    destination = made(tenant, ANN)["id"]
    path = links(tenant, server, destination, 1)[ANN]
    assert tenant.ask("DELETE", f"/api/v1/destinations/{destination}").status == 200
    for method in ("GET", "POST"):
        assert running.process.request(method, path).status == 200
    assert tenant.get("/api/v1/audit?action=destination.unsubscribed")["records"] == []
