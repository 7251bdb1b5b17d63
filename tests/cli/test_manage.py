"""``tocsin destinations``, ``categories``, ``channels``, ``keys`` and ``service-keys``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from cli.commands import Shell
from gateway import Gateway
from tocsin.cli.exits import DENIED, NOT_FOUND, REFUSED, USAGE

pytestmark = pytest.mark.acceptance

NOWHERE = "dst_" + "0" * 32


def test_a_destination_is_made_with_all_its_options_and_its_secret_shown_once(shell: Shell, gateway: Gateway) -> None:
    made = shell.ok(
        "destinations", "create", "shop", "--quiet", "--webhook", f"{gateway.receiver_url}/shop",
        "--header", "X-Team: shop", "--type", "order.*", "--type", "invoice.*", "--dialect", "buildable",
        "--format", "standard", "--retry", "promptjang", "--timeout-s", "3", "--rate-per-s", "10",
        "--concurrency", "1", "--ordered", "--description", "orders", "--body", '{"filter": {"subjects": ["a*"]}}',
    )  # fmt: skip
    assert made["secret"].startswith("whsec_")
    assert made["filter"]["types"] == ["order.*", "invoice.*"]
    assert (made["filter"]["subjects"], made["filter"]["dialects"]) == (["a*"], ["buildable"])
    assert (made["format"], made["retry"]["preset"], made["timeout_s"]) == ("standard", "promptjang", 3.0)
    assert (made["rate_per_s"], made["concurrency"], made["ordered"], made["description"]) == (10, 1, True, "orders")
    assert set(made["address"]["headers"]) == {"X-Team"}
    (listed,) = shell.rows("destinations", "list")
    assert "secret" not in listed
    assert shell.ok("destinations", "get", "shop") == shell.ok("destinations", "get", made["id"]) == listed


def test_a_destination_is_changed_paused_resumed_rotated_and_removed(shell: Shell, gateway: Gateway) -> None:
    made = shell.tenant.webhook(f"{gateway.receiver_url}/a", name="shop")
    changed = shell.ok("destinations", "change", "shop", "--webhook", f"{gateway.receiver_url}/b", "--name", "shop 2")
    assert (changed["name"], changed["address"]["url"]) == ("shop 2", f"{gateway.receiver_url}/b")
    assert shell.ok("destinations", "change", "shop 2", "--disabled")["state"] == "disabled"
    assert shell.ok("destinations", "change", "shop 2", "--enabled")["state"] == "active"
    assert shell.ok("destinations", "pause", "shop 2")["state"] == "paused"
    assert shell.ok("destinations", "resume", made["id"])["state"] == "active"
    assert shell.ok("destinations", "rotate", "shop 2", "--quiet")["secret"] != made["secret"]
    shell.refused(USAGE, "destinations", "change", "shop 2", says="nothing is to be changed")
    shell.refused(USAGE, "destinations", "delete", "shop 2", says="would be removed")
    assert shell.ok("destinations", "delete", "shop 2", "--yes") == {"id": made["id"], "deleted": True}
    assert shell.rows("destinations", "list") == []


def test_hidden_headers_are_given_again_for_another_host(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/a", name="shop", headers={"X-Token": "hunter2"})
    moved = ("destinations", "change", "shop", "--webhook", gateway.receiver_url.replace("127.0.0.1", "127.0.0.2"))
    shell.refused(REFUSED, *moved, says="address.headers.X-Token give the value again")
    assert shell.ok(*moved, "--body", '{"address": {"headers": {}}}')["address"]["headers"] == {}
    assert shell.ok(*moved, "--header", "X-Token: other")["address"]["headers"] == {"X-Token": "***"}


def test_people_are_told_as_the_options_say_and_secrets_come_from_elsewhere(shell: Shell) -> None:
    made = shell.ok(
        "destinations", "create", "us", "--quiet", "--transport", "telegram", "--chat-id", "-1001",
        "--incidents", "post", "--quiet-hours", "22:00-07:00 Europe/Berlin", "--body", "-",
        stdin='{"address": {"bot_token": "1:a"}}',
    )  # fmt: skip
    assert made["address"] == {"bot_token": "***", "chat_id": "-1001"}
    assert (made["incidents"], made["ordered"], made["concurrency"]) == ("post", True, 1)
    assert made["quiet_hours"] == {"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}
    changed = shell.ok("destinations", "change", "us", "--incidents", "edit", "--quiet-hours", "23:00-06:30")
    assert changed["incidents"] == "edit"
    assert changed["quiet_hours"] == {"start": "23:00", "end": "06:30", "timezone": "UTC"}
    assert shell.ok("destinations", "change", "us", "--quiet-hours", "none")["quiet_hours"] is None
    for hours in ("22:00", "22:00 Europe/Berlin", ""):
        shell.refused(
            USAGE, "destinations", "change", "us", "--quiet-hours", hours, says="START-END TIMEZONE or none"
        )
    told = ("quiet_hours.timezone", "must be the IANA name of a time zone")
    for says in told:
        shell.refused(REFUSED, "destinations", "change", "us", "--quiet-hours", "22:00-07:00 Atlantis", says=says)
    bot = shell.ok(
        "destinations", "create", "me", "--quiet", "--transport", "discord", "--user-id", "42", "--body", "-",
        stdin='{"address": {"bot_token": "a.b"}}',
    )  # fmt: skip
    assert bot["address"] == {"bot_token": "***", "user_id": "42"}


def test_a_test_reaches_the_destination(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.webhook(f"{gateway.receiver_url}/tested", name="shop")
    told = shell.ok("destinations", "test", "shop", "--quiet")
    (arrival,) = gateway.receiver.wait_for(1, path="/tested")
    assert arrival.headers["webhook-id"] == told["event_id"]


@pytest.mark.parametrize("command", ["get", "test", "pause", "resume", "rotate"])
def test_a_destination_that_is_not_there_is_told(shell: Shell, command: str) -> None:
    shell.refused(NOT_FOUND, "destinations", command, NOWHERE, says="destination not found")
    shell.refused(NOT_FOUND, "destinations", command, "shop", says="there is no destination shop")


def test_a_name_that_two_destinations_have_is_refused(shell: Shell, gateway: Gateway) -> None:
    first = shell.tenant.webhook(gateway.receiver_url, name="shop")
    shell.tenant.webhook(gateway.receiver_url, name="shop")
    shell.refused(
        USAGE, "destinations", "get", "shop", says=f"2 destinations are named shop; give the id: {first['id']}"
    )


def test_what_the_gateway_refuses_names_the_field(shell: Shell) -> None:
    shell.refused(REFUSED, "destinations", "create", "shop", says="address is required")
    shell.refused(REFUSED, "destinations", "create", "shop", "--to", "a@example.com", says="url")
    options = ("--webhook", "https://shop.example.com", "--timeout-s", "-1")
    shell.refused(REFUSED, "destinations", "create", "shop", *options, says="timeout_s")
    shell.refused(USAGE, "destinations", "create", "shop", "--header", "nocolon", says="name:value")
    shell.refused(USAGE, "destinations", "create", "shop", "--body", "[]", says="JSON object")


def test_categories(shell: Shell) -> None:
    made = shell.ok("categories", "create", "sale", "--color", "#ffeb3b", "--emoji", "💰")
    assert made == {"name": "sale", "color": "#ffeb3b", "emoji": "💰"}
    usual = shell.rows("categories", "quickstart")
    assert usual
    assert len(shell.rows("categories", "list")) >= len(usual)
    shell.refused(USAGE, "categories", "delete", "sale", says="--yes")
    shell.ok("categories", "delete", "sale", "--yes")
    assert "sale" not in [row["name"] for row in shell.rows("categories", "list")]
    shell.refused(
        REFUSED,
        "categories",
        "create",
        "red",
        "--color",
        "red",
        says="tocsin: color must be #000000 to #FFFFFF (400)",
    )


def test_channels(shell: Shell) -> None:
    made = shell.ok("channels", "create", "ops")
    assert shell.rows("channels", "list") == [made]
    shell.refused(USAGE, "channels", "create", "ops", TOCSIN_CHANNEL_PASSWORD=None, says="channel password missing")
    shell.ok("event", "create", "--channel", made["id"], "--title", "a", "--message", "b", "--status", "ongoing")
    assert shell.ok("channels", "delete", made["id"], "--yes")["deleted"] is True
    assert shell.rows("channels", "list") == []


def test_a_key_is_shown_once_and_does_no_more_than_it_may(shell: Shell) -> None:
    made = shell.ok("keys", "create", "reader", "--scope", "read", "--environment", "test", "--quiet")
    assert made["key"].startswith("tcs_test_")
    assert [row.get("key") for row in shell.rows("keys", "list")] == [None] * len(shell.rows("keys", "list"))
    assert shell.rows("destinations", "list", TOCSIN_KEY=made["key"]) == []
    shell.refused(
        DENIED, "keys", "create", "more", TOCSIN_KEY=made["key"], says="tocsin keys create --scope makes one"
    )
    shell.refused(USAGE, "keys", "revoke", made["id"], says="--yes")
    shell.ok("keys", "revoke", made["id"], "--yes")
    shell.refused(DENIED, "destinations", "list", TOCSIN_KEY=made["key"], says="this key is not known there")


def test_service_keys_are_made_taken_over_listed_and_revoked(shell: Shell, tmp_path: Path) -> None:
    made = shell.ok("service-keys", "create", "--algorithm", "ES256")
    assert (made["algorithm"], made["public_jwk"]["crv"]) == ("ES256", "P-256")
    pair = Ed25519PrivateKey.generate()
    jwk = json.loads(OKPAlgorithm.to_jwk(pair))
    (tmp_path / "pair.jwk").write_text(json.dumps(jwk), "utf-8")
    taken = shell.ok("service-keys", "create", "--jwk-file", str(tmp_path / "pair.jwk"))
    assert (taken["algorithm"], taken["public_jwk"]["x"]) == ("EdDSA", jwk["x"])
    assert jwk["d"] not in json.dumps(taken)
    assert shell.rows("service-keys", "list") == [made, taken]
    assert shell.rows("service-keys", "list", "--limit", "1") == [made]

    (tmp_path / "none.jwk").write_text("my secret", "utf-8")
    none = str(tmp_path / "none.jwk")
    shell.refused(USAGE, "service-keys", "create", "--jwk-file", none, says="holds no JWK")
    shell.refused(
        REFUSED,
        "service-keys",
        "create",
        "--algorithm",
        "RS256",
        "--jwk-file",
        str(tmp_path / "pair.jwk"),
        says="private_jwk",
    )
    shell.refused(USAGE, "service-keys", "revoke", made["kid"], says="--yes")
    assert shell.ok("service-keys", "revoke", made["kid"], "--yes") == {"kid": made["kid"], "deleted": True}
    shell.refused(NOT_FOUND, "service-keys", "revoke", made["kid"], "--yes", says="service key not found")
    assert shell.rows("service-keys", "list") == [taken]


def test_endpoints(shell: Shell, gateway: Gateway) -> None:
    url = f"{gateway.receiver_url}/endpoint"
    made = shell.ok("endpoints", "create", url, "--type", "order.created", "--description", "a", "--quiet")
    assert (made["url"], made["event_types"], made["secret"][:6]) == (url, ["order.created"], "whsec_")
    (listed,) = shell.rows("endpoints", "list")
    assert (listed["id"], "secret" in listed) == (made["id"], False)
    shell.refused(USAGE, "endpoints", "delete", made["id"], says="would be removed")
    shell.ok("endpoints", "delete", made["id"], "--yes")
    assert shell.rows("endpoints", "list") == []


def test_the_account(shell: Shell) -> None:
    replaced = shell.ok("account", "replace", '{"email": {"enabled": true, "to": ["ops@example.com"]}}')
    assert replaced["email"]["to"] == ["ops@example.com"]
    assert shell.ok("account", "show") == replaced
    assert shell.ok("account", "usage")["eventsUsed"] == 0
    shell.refused(USAGE, "account", "replace", "[]", says="JSON object")
    shell.refused(REFUSED, "account", "replace", '{"fax": 1}', says="fax")
