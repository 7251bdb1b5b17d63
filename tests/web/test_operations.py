"""What an operator's machinery reads: metrics that move, and a page that names all of them and every log event."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway
from tenants import tenant_of
from tocsin.core.delivery import Attempt, Deferred, Delivered, Exchange, Rejected
from tocsin.core.destination import Transport
from tocsin.telemetry import Metrics

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "src" / "tocsin"
PAGE = (ROOT / "docs" / "telemetry.md").read_text("utf-8")


def families(exposition: bytes) -> dict[str, Metric]:
    """Return what a Prometheus server reads from an exposition."""
    return {each.name: each for each in text_string_to_metric_families(exposition.decode())}


def value(exposition: bytes, name: str, **labels: str) -> float:
    """Return a sample's value, 0 where there is none."""
    samples = (sample for family in families(exposition).values() for sample in family.samples)
    return next((sample.value for sample in samples if sample.name == name and sample.labels == labels), 0.0)


# -- what is counted ---------------------------------------------------------------------------------------


def test_every_metric_counts_what_it_says() -> None:
    metrics = Metrics()
    attempt = Attempt(started_ms=0, duration_ms=1, exchange=Exchange(request_line="POST /"))
    for _ in range(2):
        metrics.answered("pushgo", "POST", "/event/create", 200)
    metrics.answered("none", "*", "/*", 404)
    for outcome in (Delivered(attempt), Deferred(attempt), Rejected(attempt), Rejected(attempt)):
        metrics.attempted(Transport.WEBHOOK, outcome)
    metrics.settled(3)
    metrics.breaker_opened()
    metrics.fault()

    told = metrics.exposition()

    requests = {"dialect": "pushgo", "route": "POST /event/create", "status": "200"}
    assert value(told, "tocsin_requests_total", **requests) == 2
    assert value(told, "tocsin_requests_total", dialect="none", route="* /*", status="404") == 1
    for word, count in (("delivered", 1), ("deferred", 1), ("rejected", 2)):
        assert value(told, "tocsin_attempts_total", transport="webhook", outcome=word) == count
    assert value(told, "tocsin_settlements_total") == 3
    assert value(told, "tocsin_breaker_openings_total") == 1
    assert value(told, "tocsin_faults_total") == 1
    assert value(told, "tocsin_store_writable") == 1
    metrics.store_writable(False)
    assert value(metrics.exposition(), "tocsin_store_writable") == 0


def test_two_gateways_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.fault()
    assert value(other.exposition(), "tocsin_faults_total") == 0


def test_a_path_cannot_break_the_exposition() -> None:
    metrics = Metrics()
    metrics.answered("none", "GET", '/"\n\\', 404)
    assert value(metrics.exposition(), "tocsin_requests_total", dialect="none", route='GET /"\n\\', status="404") == 1


# -- over HTTP ---------------------------------------------------------------------------------------------


def test_an_event_moves_the_counters_of_its_way(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/metrics-test")

    def now() -> bytes:
        answer = gateway.process.request("GET", "/metrics")
        assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        return answer.body

    emitted = {"dialect": "buildable", "route": "POST /emit", "status": "200"}
    delivered = {"transport": "webhook", "outcome": "delivered"}
    before = now()
    tenant.post("/emit", {"event": "a", "payload": {}})
    gateway.receiver.wait_for(1, path="/metrics-test")
    after = now()
    assert value(after, "tocsin_requests_total", **emitted) == value(before, "tocsin_requests_total", **emitted) + 1

    def is_counted() -> bool:
        told = now()
        return all(
            value(told, name, **labels) > value(before, name, **labels)
            for name, labels in (("tocsin_attempts_total", delivered), ("tocsin_settlements_total", {}))
        )

    deadline_s = time.monotonic() + 10
    while not is_counted():
        assert time.monotonic() < deadline_s, "the attempt is not counted"


def test_neither_readiness_nor_metrics_name_an_organisation_or_a_key(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    organisation = tenant.get("/api/v1/orgs")["id"]
    for path in ("/metrics", "/ready", "/health"):
        body = gateway.process.request("GET", path).body
        assert organisation.encode() not in body
        assert b"tcs_" not in body


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/healthz", "/readyz"])
def test_a_probe_needs_no_key_and_looks_at_none(gateway: Gateway, path: str) -> None:
    for key in (None, "tcs_live_wrong"):
        assert gateway.process.request("GET", path, key=key).status == 200
    assert gateway.process.request("HEAD", path).body == b""


# -- the page ----------------------------------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    """Return the cells of a table of the page."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def quoted(text: str) -> set[str]:
    """Return what stands in backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def test_the_page_names_every_metric_with_its_labels() -> None:
    on_the_page = {
        quoted(name).pop().removesuffix("_total"): quoted(labels) for name, labels, _, _ in rows("Metrics")
    }
    registered: dict[str, set[str]] = {}
    for collector in Metrics().registry._collector_to_names:
        labelled: Any = collector
        registered[labelled._name] = set(labelled._labelnames)
    assert on_the_page == registered


def log_events(tree: ast.AST) -> Iterator[tuple[str, str, set[str]]]:
    """Return name, level and fields of every log event of a source."""
    levels = ("debug", "info", "warning", "error", "exception", "log")
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in levels):
            continue
        if not (isinstance(node.func.value, ast.Name) and node.func.value.id in ("_log", "log")):
            continue
        names = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        assert len(names) == 1, f"line {node.lineno}: an event has one name, and it is a constant"
        level = {"exception": "error", "log": "as logged"}.get(node.func.attr, node.func.attr)
        fields = {"exception" if each.arg == "exc_info" else str(each.arg) for each in node.keywords}
        if node.func.attr == "exception":
            fields.add("exception")
        yield names[0], level, fields


def test_the_page_names_every_log_event_with_its_level_and_fields() -> None:
    in_the_code: dict[str, tuple[str, set[str]]] = {}
    for path in SOURCES.rglob("*.py"):
        for name, level, fields in log_events(ast.parse(path.read_text("utf-8"))):
            assert in_the_code.setdefault(name, (level, fields)) == (level, fields), f"{name} is logged in two ways"
    on_the_page = {quoted(name).pop(): (level, quoted(fields)) for name, level, fields, _ in rows("Log events")}
    assert on_the_page == in_the_code
