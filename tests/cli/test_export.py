"""``tocsin export`` and ``import``: the history and the configuration, out and in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import Shell, shell_for
from gateway import Gateway, gateway_with
from tenants import PASSWORD
from tocsin.cli.exits import PARTIAL, USAGE

pytestmark = pytest.mark.acceptance

_HIDDEN = {"enabled": True, "bot_token": "123:abc", "chat_id": "1"}


@pytest.fixture(name="other")
def _other(gateway: Gateway, tmp_path: Path) -> Shell:
    """A second organisation, with nothing in it."""
    return shell_for(gateway, tmp_path / "other")


def test_the_history_is_a_line_an_event_with_its_numbers_as_they_were(shell: Shell) -> None:
    body = b'{\r\n "amount": 1.50,\n "big": 12345678901234567890, "text": "a\\nb\xc2\x9b"}'
    shell.tenant.post("/events/v2/projects/shop/events/paid", body)
    shell.tenant.post("/emit", {"event": "order.paid", "payload": {"a": 1}})
    done = shell.run("export")
    assert (done.status, done.err) == (0, "")
    newest, oldest = done.out.splitlines()
    assert '"amount": 1.50' in oldest
    assert "12345678901234567890" in oldest
    assert "\x9b" not in oldest
    assert json.loads(oldest)["payload"] == json.loads(body)
    assert (json.loads(newest)["event_type"], json.loads(newest)["deliveries"]) == ("order.paid", [])
    (short,) = shell.rows("export", "--short", "--type", "order.paid", "--since", "1h")
    assert "payload" not in short


def test_a_configuration_is_made_again_elsewhere(shell: Shell, other: Shell, gateway: Gateway) -> None:
    shell.ok("categories", "create", "bug", "--color", "#ff0000")
    shell.ok("channels", "create", "ops")
    url = f"{gateway.receiver_url}/made"
    quiet = ("--incidents", "post", "--quiet-hours", "22:00-07:00 Europe/Berlin")
    shell.ok("destinations", "create", "shop", "--webhook", url, "--type", "order.*", *quiet, "--quiet")
    shell.ok(
        "destinations", "create", "keyed", "--webhook", url, "--header", "Authorization: Bearer x-y-z", "--quiet"
    )
    shell.tenant.endpoint(gateway.receiver_url)
    exported = shell.run("export", "--what", "config").out
    assert "x-y-z" not in exported
    assert "whsec_" not in exported
    assert PASSWORD not in exported

    planned = other.rows("import", "-", "--dry-run", stdin=exported)
    assert [(row["name"], row["result"]) for row in planned] == [
        ("shop", "would be made"),
        ("keyed", "by hand"),
        (gateway.receiver_url, "would be made"),
        ("bug", "would be made"),
        ("ops", "by hand"),
    ]
    assert other.rows("destinations", "list") == []
    done = other.run("import", "-", stdin=exported)
    assert done.status == PARTIAL
    assert [row["result"] for row in done.rows] == ["made", "by hand", "made", "made", "by hand"]
    assert "2 of 5 are left" in done.err
    made, there = (each.ok("destinations", "get", "shop") for each in (other, shell))
    assert (made["incidents"], made["quiet_hours"]["timezone"]) == ("post", "Europe/Berlin")
    same = (
        "transport",
        "address",
        "filter",
        "retry",
        "format",
        "timeout_s",
        "concurrency",
        "incidents",
        "quiet_hours",
    )
    assert [made[name] for name in same] == [there[name] for name in same]
    assert done.rows[0]["secret"].startswith("whsec_")

    other.ok("destinations", "change", "shop", "--timeout-s", "7")
    other.ok("channels", "create", "ops")
    again = other.run("import", other.file("config.json", exported)).rows
    assert [(row["result"], row["detail"]) for row in again][:1] == [("differs", "timeout_s")]
    assert [row["result"] for row in again[2:]] == ["is there"] * 3
    assert other.ok("destinations", "get", "shop")["timeout_s"] == 7


def test_what_the_dialects_routes_made_and_whom_to_tell_is_made_again_too(
    shell: Shell, other: Shell, gateway: Gateway
) -> None:
    url = gateway.receiver_url
    shell.ok("destinations", "create", "held", "--webhook", f"{url}/held", "--quiet")
    shell.ok("destinations", "pause", "held")
    endpoint = shell.ok("endpoints", "create", f"{url}/orders", "--description", "orders", "--quiet")["id"]
    limited = ("--type", "order.*", "--where", "a > `1`", "--rate-per-s", "5", "--disabled")
    shell.ok("destinations", "change", endpoint, *limited)
    webhook = {"event": "paid", "url": f"{url}/paid", "maxAttempts": 5, "responseHeaders": {"x-ok": "1"}}
    shell.tenant.put("/events/v2/projects/a-shop/webhooks/paid", webhook)
    shell.ok("destinations", "change", "paid", "--concurrency", "2")
    shell.tenant.put("/api/v1/account", {"email": {"enabled": True, "to": ["a@example.com"]}, "telegram": _HIDDEN})
    done = shell.run("export", "--what", "config")
    assert "not in it: ids, signing secrets" in done.err
    assert "123:abc" not in done.out

    made = other.run("import", "-", stdin=done.out)
    assert [(row["what"], row["name"], row["result"]) for row in made.rows] == [
        ("destinations", "held", "made"),
        ("endpoints", "orders", "made"),
        ("webhooks", "paid", "made"),
        ("account", "telegram", "by hand"),
        ("account", "email", "made"),
    ]
    assert [row["secret"][:6] for row in made.rows[:3]] == ["whsec_"] * 3
    # What is held back here was never open there, not even for a moment.
    held = other.tenant.get("/api/v1/audit?action=destination.created")["records"][-1]
    assert (held["summary"]["name"], held["summary"]["enabled"]) == ("held", False)
    both = [json.loads(each.run("export", "--what", "config").out) for each in (shell, other)]
    there, here = both
    for what in ("destinations", "endpoints", "webhooks"):
        assert len(here[what]) == 1
        assert here[what] == there[what]
    assert (here["destinations"][0]["paused"], here["webhooks"][0]["maxAttempts"]) == (True, 5)
    assert here["account"] == {**there["account"], "telegram": {"enabled": False}}
    again = other.run("import", "-", stdin=done.out)
    assert [row["result"] for row in again.rows] == ["is there"] * 3 + ["by hand", "is there"]
    other.tenant.put("/api/v1/account", {"email": {"enabled": False, "to": ["b@example.com"]}})
    differs = other.run("import", "-", "--dry-run", stdin=done.out).rows[-1]
    assert (differs["result"], differs["detail"]) == ("differs", "enabled, to")


def test_services_and_bots_without_a_chat_are_made_again_too(tmp_path: Path) -> None:
    services = {"TOCSIN_APPRISE_SERVICES": '{"ops": "json://127.0.0.1:9"}', "TOCSIN_APPRISE_ORGANISATIONS": "all"}
    with gateway_with(services) as gateway:
        there, here = (shell_for(gateway, tmp_path / name) for name in ("there", "here"))
        there.ok("destinations", "create", "phone", "--transport", "apprise", "--service", "ops", "--quiet")
        bot = {"name": "bot", "transport": "telegram", "address": {"bot_token": "123:abc"}}
        there.tenant.post("/api/v1/destinations", bot)
        exported = there.run("export", "--what", "config").out
        assert "123:abc" not in exported
        made = here.run("import", "-", stdin=exported)
        assert [(row["name"], row["result"]) for row in made.rows] == [("phone", "made"), ("bot", "by hand")]
        assert made.rows[1]["detail"] == "needs address.bot_token, which no export holds"
        here.tenant.post("/api/v1/destinations", bot)
        again = here.run("import", "-", stdin=exported)
        assert [(row["name"], row["result"]) for row in again.rows] == [("phone", "is there"), ("bot", "is there")]
        assert here.run("export", "--what", "config").out == exported


def test_a_webhook_that_belongs_to_no_project_is_told_of(shell: Shell, gateway: Gateway) -> None:
    shell.tenant.put(
        "/events/v2/projects/a-shop/webhooks/paid", {"event": "paid", "url": f"{gateway.receiver_url}/paid"}
    )
    shell.ok("destinations", "change", "paid", "--body", '{"filter": {}}')
    done = shell.run("export", "--what", "config", "--quiet")
    assert done.json["webhooks"] == []
    assert "the webhook paid is not in it" in done.err


def test_a_document_of_before_is_read(shell: Shell, other: Shell, gateway: Gateway) -> None:
    shell.ok("destinations", "create", "shop", "--webhook", gateway.receiver_url, "--quiet")
    document = json.loads(shell.run("export", "--what", "config").out)
    del document["destinations"][0]["paused"]
    old = json.dumps({name: document[name] for name in ("kind", "version", "destinations")})
    for result in ("made", "is there"):
        assert [row["result"] for row in other.rows("import", "-", stdin=old)] == [result]


def test_a_url_that_may_hold_a_secret_is_told_of(shell: Shell, gateway: Gateway) -> None:
    for name, url in (("plain", f"{gateway.receiver_url}/a#b"), ("keyed", f"{gateway.receiver_url}/a?token=t0p")):
        shell.run("destinations", "create", name, "--webhook", url)
    done = shell.run("export", "--what", "config", "--quiet")
    assert done.status == 0
    assert [each["name"] for each in done.json["destinations"]] == ["plain", "keyed"]
    assert done.err.splitlines() == [
        "tocsin: the URL of keyed has a query or a user in it, and may hold a secret: look before it is shared"
    ]


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[]", "no configuration"),
        ("{", "no JSON"),
        ('{"kind": "tocsin-configuration", "version": 9}', "version is 9"),
        ('{"kind": "tocsin-configuration", "version": 1, "channels": [1]}', "channels must be a list"),
        ('{"kind": "tocsin-configuration", "version": 1, "account": {"email": 1}}', "account must be an object"),
    ],
)
def test_another_document_is_refused(shell: Shell, document: str, says: str) -> None:
    shell.refused(USAGE, "import", "-", stdin=document, says=says)


def test_a_configuration_takes_no_filter(shell: Shell) -> None:
    shell.refused(USAGE, "export", "--what", "config", "--since", "1h", says="filters are for events")
    shell.refused(USAGE, "import", "nowhere.json", says="cannot be read")
