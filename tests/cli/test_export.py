"""``tocsin export`` and ``import``: the history and the configuration, out and in again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.commands import Shell, shell_for
from gateway import Gateway
from tenants import PASSWORD
from tocsin.cli.exits import PARTIAL, USAGE

pytestmark = pytest.mark.acceptance


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
    shell.ok("destinations", "create", "shop", "--webhook", url, "--type", "order.*", "--quiet")
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
        ("bug", "would be made"),
        ("ops", "by hand"),
    ]
    assert other.rows("destinations", "list") == []
    done = other.run("import", "-", stdin=exported)
    assert (done.status, [row["result"] for row in done.rows]) == (PARTIAL, ["made", "by hand", "made", "by hand"])
    assert "2 of 4 are left" in done.err
    made, there = (each.ok("destinations", "get", "shop") for each in (other, shell))
    same = ("transport", "address", "filter", "retry", "format", "timeout_s", "concurrency")
    assert [made[name] for name in same] == [there[name] for name in same]
    assert done.rows[0]["secret"].startswith("whsec_")

    other.ok("destinations", "change", "shop", "--timeout-s", "7")
    other.ok("channels", "create", "ops")
    again = other.run("import", other.file("config.json", exported)).rows
    assert [(row["result"], row["detail"]) for row in again][:1] == [("differs", "timeout_s")]
    assert [row["result"] for row in again[2:]] == ["is there", "is there"]
    assert other.ok("destinations", "get", "shop")["timeout_s"] == 7


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("[]", "no configuration"),
        ("{", "no JSON"),
        ('{"kind": "tocsin-configuration", "version": 9}', "version is 9"),
        ('{"kind": "tocsin-configuration", "version": 1, "channels": [1]}', "channels must be a list"),
    ],
)
def test_another_document_is_refused(shell: Shell, document: str, says: str) -> None:
    shell.refused(USAGE, "import", "-", stdin=document, says=says)


def test_a_configuration_takes_no_filter(shell: Shell) -> None:
    shell.refused(USAGE, "export", "--what", "config", "--since", "1h", says="filters are for events")
    shell.refused(USAGE, "import", "nowhere.json", says="cannot be read")
