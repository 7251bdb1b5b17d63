"""What an operator's machinery reads: metrics that move, and a page that names all of them and every log event."""

from __future__ import annotations

import ast
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway
from leases import made_event, made_lease
from tenants import tenant_of
from tocsin.core.delivery import (
    Attempt,
    Deferred,
    Delivered,
    DeliveryState,
    ErrorClass,
    Exchange,
    Lease,
    Rejected,
)
from tocsin.core.destination import Transport
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import EventId, IdSequence
from tocsin.telemetry import Metrics
from tocsin.telemetry.instruments import Instrument, Level, Spread, Tally

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

ACCEPTED_MS = 1_700_000_000_000
"""When the event of a lease was accepted."""


def accepted(**fields: Any) -> Event:
    """Return an event that was accepted then."""
    return made_event(id=EventId(IdSequence(os.urandom).make(ACCEPTED_MS)), dialect=Dialect.BUILDABLE, **fields)


def leased(**fields: Any) -> Lease:
    """Return a lease of its delivery."""
    return made_lease(event=accepted(), **fields)


def made_attempt(status_code: int | None, error_class: ErrorClass | None = None) -> Attempt:
    return Attempt(
        started_ms=ACCEPTED_MS + 300,
        duration_ms=1500,
        connect_ms=20,
        exchange=Exchange(request_line="POST /"),
        status_code=status_code,
        error_class=error_class,
    )


def test_answers_are_counted_by_route_and_by_error() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.answered("pushgo", "POST", "/event/create", 200)
    metrics.answered("none", "*", "/*", 404)
    metrics.refused("pushgo", "password_mismatch")
    metrics.fault()
    metrics.request_timer("pushgo")(0.02)

    told = metrics.exposition()

    requests = {"dialect": "pushgo", "route": "POST /event/create", "status": "200"}
    assert value(told, "tocsin_requests_total", **requests) == 2
    assert value(told, "tocsin_requests_total", dialect="none", route="* /*", status="404") == 1
    assert value(told, "tocsin_refusals_total", dialect="pushgo", code="password_mismatch") == 1
    assert value(told, "tocsin_faults_total") == 1
    assert value(told, "tocsin_request_seconds_sum", dialect="pushgo") == 0.02


def test_events_are_counted_by_what_became_of_them() -> None:
    metrics = Metrics()
    metrics.judged(accepted(data=b"12345"), "stored", ACCEPTED_MS + 40)
    metrics.judged(accepted(), "refused", ACCEPTED_MS + 40)
    metrics.batched(2)
    told = metrics.exposition()
    for result, count in (("stored", 1), ("refused", 1), ("repeated", 0), ("unavailable", 0), ("failed", 0)):
        assert value(told, "tocsin_events_total", dialect="buildable", result=result) == count
    assert value(told, "tocsin_event_data_bytes_total") == 5
    assert (value(told, "tocsin_accept_seconds_count"), value(told, "tocsin_accept_seconds_sum")) == (1, 0.04)
    assert value(told, "tocsin_accept_batch_events_sum") == 2


def test_attempts_are_counted_by_outcome_status_and_error() -> None:
    metrics = Metrics()
    lease = leased()
    metrics.attempted(Transport.WEBHOOK, lease, Delivered(made_attempt(204)))
    metrics.attempted(Transport.WEBHOOK, lease, Deferred(made_attempt(503, ErrorClass.STATUS)))
    metrics.attempted(Transport.WEBHOOK, lease, Deferred(made_attempt(None, ErrorClass.DNS)))
    metrics.attempted(Transport.MAILBOX, lease, Rejected(made_attempt(None, ErrorClass.INTERNAL)))
    metrics.finished(Transport.WEBHOOK, DeliveryState.DELIVERED)
    metrics.settled(3)
    metrics.breaker_opened()

    told = metrics.exposition()

    for transport, outcome, status in (
        ("webhook", "delivered", "2xx"),
        ("webhook", "deferred", "5xx"),
        ("webhook", "deferred", "none"),
        ("mailbox", "rejected", "none"),
    ):
        labels = {"transport": transport, "outcome": outcome, "status": status}
        assert value(told, "tocsin_attempts_total", **labels) == 1
    assert value(told, "tocsin_attempt_errors_total", transport="webhook", error="dns") == 1
    assert value(told, "tocsin_attempt_seconds_sum", transport="webhook") == 4.5
    assert value(told, "tocsin_attempt_connect_seconds_sum", transport="mailbox") == 0.02
    assert value(told, "tocsin_deliveries_finished_total", transport="webhook", state="delivered") == 1
    assert value(told, "tocsin_deliveries_finished_total", transport="webhook", state="expired") == 0
    assert value(told, "tocsin_settlements_total") == 3
    assert value(told, "tocsin_breaker_openings_total") == 1


@pytest.mark.parametrize(
    ("lease", "first_attempts", "delivered"),
    [
        (leased(), 1, 1),
        (leased(attempts_made=2), 0, 1),
        (leased(attempts_made=9, retries_from=9), 0, 0),
    ],
    ids=["first", "third", "sent again by hand"],
)
def test_an_events_way_is_measured_from_its_acceptance(lease: Lease, first_attempts: int, delivered: int) -> None:
    metrics = Metrics()
    metrics.attempted(Transport.WEBHOOK, lease, Delivered(made_attempt(200)))
    told = metrics.exposition()
    assert value(told, "tocsin_first_attempt_seconds_count") == first_attempts
    assert value(told, "tocsin_first_attempt_seconds_sum") == pytest.approx(0.3 * first_attempts)
    assert value(told, "tocsin_delivery_seconds_count") == delivered
    assert value(told, "tocsin_delivery_seconds_sum") == pytest.approx(1.8 * delivered)


def test_a_value_on_a_bound_belongs_to_its_bucket() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.0011, 10.0, 11.0):
        metrics.store.committed(1, seconds)
    told = metrics.exposition()
    counts = {
        bound: value(told, "tocsin_store_commit_seconds_bucket", le=bound)
        for bound in ("0.001", "0.0025", "10.0", "+Inf")
    }
    assert counts == {"0.001": 1, "0.0025": 2, "10.0": 3, "+Inf": 4}
    assert value(told, "tocsin_store_commit_writes_sum") == 4


def test_a_clock_that_was_set_back_makes_no_negative_time() -> None:
    metrics = Metrics()
    metrics.judged(accepted(), "stored", ACCEPTED_MS - 5000)
    assert value(metrics.exposition(), "tocsin_accept_seconds_sum") == 0


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
    delivered = {"transport": "webhook", "outcome": "delivered", "status": "2xx"}
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


def instruments() -> list[Instrument]:
    """Return every instrument of ours that is registered."""
    collectors = Metrics().registry._collector_to_names
    return [each for each in collectors if isinstance(each, Instrument)]


KINDS: dict[type[Instrument], str] = {Tally: "counter", Level: "gauge", Spread: "histogram"}


def test_the_page_names_every_metric_with_its_kind_and_its_labels() -> None:
    on_the_page = {
        quoted(name).pop(): (kind, quoted(labels))
        for name, kind, labels, *_ in (row for row in rows("Metrics") if row[0].startswith("`tocsin_"))
    }
    registered = {
        each.name + ("_total" if isinstance(each, Tally) else ""): (KINDS[type(each)], set(each.labels))
        for each in instruments()
    }
    assert on_the_page == registered


def test_names_follow_prometheus() -> None:
    for each in instruments():
        assert re.fullmatch(r"tocsin_[a-z]+(_[a-z]+)*", each.name), each.name
        assert not each.name.endswith("_total"), "it is appended"
        assert not re.search(r"_(ms|s|kib|mib|count|sum|bucket)$", each.name), f"{each.name} has another unit"
        if isinstance(each, Spread):
            assert re.search(r"_(seconds|bytes|events|writes)$", each.name), f"{each.name} says no unit"


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
