"""What the page on deploying says of the proxy, of sizes and of connections is true of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import deployed
from docs.deployed import PAGE, UNITS
from docs.pages import ROOT, block
from gateway import Gateway
from surface import built_routes
from tocsin.bootstrap import load_settings
from tocsin.engine.postgres import PostgresSettings
from tocsin.engine.rows import Durability

TEXT = PAGE.read_text("utf-8")
PROXY = block(PAGE, "nginx")


def proxy(directive: str) -> int:
    """Return a number that the proxy's configuration sets, which is the same wherever it is set."""
    (found,) = set(re.findall(rf"^ *{directive} (\d+)[ms]?;$", PROXY, re.MULTILINE))
    return int(found)


def test_the_proxy_takes_what_the_longest_route_takes(tmp_path: Path) -> None:
    longest = max(route.body_limit_bytes for route in built_routes(tmp_path))
    assert longest == load_settings().values.buildable_body_max_bytes
    assert proxy("client_max_body_size") * 1024 * 1024 > longest


def test_the_proxy_lets_go_of_connections_first_and_of_streams_never() -> None:
    values = load_settings().values
    assert proxy("keepalive_timeout") < values.server_idle_s
    assert proxy("proxy_read_timeout") > 2 * values.stream_keep_alive_s
    stream = PROXY[PROXY.index("location = /api/v1/stream") :]
    assert "proxy_buffering off;" in stream[: stream.index("}")]
    assert "non_idempotent" not in PROXY


def test_the_proxy_chooses_among_the_gateways_that_the_page_starts() -> None:
    ports = set(re.findall(r"server 127\.0\.0\.1:(\d+);", PROXY))
    composed = deployed.our_services(deployed.DEPLOY / "compose.postgres.yaml").values()
    assert ports == {port.split(":")[1] for each in composed for port in each.get("ports", [])}
    assert ports == set(re.findall(r"tocsin-gateway@(\d+)", TEXT))


def test_nobody_chooses_the_address_that_he_is_known_by(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    told = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}
    body = {"name": "made", "transport": "webhook", "address": {"url": "https://example.com/hook"}}
    made = gateway.process.request("POST", "/api/v1/destinations", body, key=key, headers=told)
    assert made.status == 201, made.body
    audit = gateway.process.request("GET", "/api/v1/audit", key=key).json
    clients = {each["client"] for entries in audit.values() if isinstance(entries, list) for each in entries}
    assert clients == {"127.0.0.1"}


def test_the_figures_are_those_that_were_measured() -> None:
    measured = (ROOT / "docs" / "operations.md").read_text("utf-8")
    sizing = TEXT[TEXT.index("## Sizing") : TEXT.index("## When the database fails")]
    figures = re.findall(r"\d+ (?:MiB|µs|GB|days)", sizing)
    assert len(figures) >= 5
    assert [figure for figure in figures if figure not in measured] == []


@pytest.mark.parametrize("setting", ["password_client_failures_max", "password_failure_window_s"])
def test_the_budget_of_wrong_passwords_is_the_one_that_is_told(setting: str) -> None:
    assert getattr(load_settings().values, setting) == 60
    assert "60 a minute for one\naddress (`TOCSIN_PASSWORD_CLIENT_FAILURES_MAX`)" in TEXT


def test_a_process_opens_as_many_connections_as_is_told() -> None:
    told = re.findall(r"opens up to (\d+) connections: `TOCSIN_POSTGRES_CONNECTIONS`, and one", TEXT)
    assert told == [str(PostgresSettings(dsn="").connections + 1)]


def test_both_words_for_what_a_failover_loses_are_explained() -> None:
    table = TEXT[TEXT.index("| `durability` |") :].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| on", table, re.MULTILINE)
    assert rows == [each.value for each in Durability]


def test_every_unit_and_compose_file_is_on_the_page() -> None:
    for file in [*deployed.COMPOSED, *UNITS]:
        named = file.name.replace("@.service", "@")
        assert named in TEXT, f"nothing is said of {file.name}"
