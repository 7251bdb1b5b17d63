"""What /metrics and the log tell of a real gateway, in good times and under each kind of trouble."""

from __future__ import annotations

import json
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import Gateway, Receiver
from program import Running, running_program
from stores import Store
from tenants import Tenant, incident, tenant_of
from wire import request, wire

pytestmark = pytest.mark.acceptance

PATIENCE_S = 20.0
EVENT = {"event": "order.created", "payload": {}}


@pytest.fixture(scope="module")
def gateway(store: Store) -> Iterator[Gateway]:
    with store.gateway_with({"TOCSIN_METRICS_EVERY_S": "0"}) as running:
        yield running


def read(exposition: bytes) -> Callable[..., float]:
    """Return what finds a sample by its name and labels; 0 where there is none."""
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }
    return lambda name, **labels: samples.get((name, tuple(sorted(labels.items()))), 0.0)


class Watch:
    """The metrics of a gateway: how they have changed since the watch began."""

    def __init__(self, ask: Callable[[], bytes]) -> None:
        self._ask = ask
        self._before = read(ask())

    def until(self, name: str, by: float = 1, **labels: str) -> None:
        """Return once a sample has risen by exactly this."""
        deadline_s = time.monotonic() + PATIENCE_S
        while (risen := self.by(name, **labels)) != by:
            assert time.monotonic() < deadline_s, f"{name}{labels} has risen by {risen}"

    def by(self, name: str, **labels: str) -> float:
        """Return by how much a sample has risen."""
        return read(self._ask())(name, **labels) - self._before(name, **labels)


@pytest.fixture
def watch(gateway: Gateway) -> Watch:
    return Watch(lambda: gateway.process.request("GET", "/metrics").body)


def emit(tenant: Tenant, count: int = 1) -> None:
    for _ in range(count):
        tenant.post("/emit", EVENT)


# -- sending -----------------------------------------------------------------------------------------------


def test_a_delivered_event_moves_every_metric_of_its_way(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/metrics")
    emit(tenant, 3)
    watch.until("tocsin_deliveries_finished_total", 3, transport="webhook", state="delivered")
    watch.until("tocsin_settlements_total", 3)
    assert watch.by("tocsin_events_total", dialect="buildable", result="stored") == 3
    assert watch.by("tocsin_event_data_bytes_total") == 3 * len(b"{}")
    assert watch.by("tocsin_attempts_total", transport="webhook", outcome="delivered", status="2xx") == 3
    for name in ("accept", "first_attempt", "delivery"):
        assert watch.by(f"tocsin_{name}_seconds_count") == 3
    assert watch.by("tocsin_attempt_seconds_count", transport="webhook") == 3
    assert watch.by("tocsin_attempt_connect_seconds_count", transport="webhook") >= 1
    assert watch.by("tocsin_request_seconds_count", dialect="buildable") == 3
    assert watch.by("tocsin_store_commit_seconds_count") >= 3
    assert watch.by("tocsin_accept_batch_events_sum") == 3
    assert watch.by("tocsin_catalog_entries", kind="destination") == 1
    assert watch.by("tocsin_destinations", state="well") == 1


def test_a_receiver_that_fails_shows_as_deferred_and_scheduled(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/status/503")
    emit(tenant)
    watch.until("tocsin_queue_deliveries", state="scheduled")
    assert watch.by("tocsin_attempts_total", transport="webhook", outcome="deferred", status="5xx") == 1
    assert watch.by("tocsin_attempt_errors_total", transport="webhook", error="status") == 1


def test_a_receiver_that_is_not_there_shows_as_no_answer(gateway: Gateway, watch: Watch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    tenant = tenant_of(gateway)
    tenant.webhook(f"http://127.0.0.1:{port}/")
    emit(tenant)
    watch.until("tocsin_attempt_errors_total", transport="webhook", error="connect")
    assert watch.by("tocsin_attempts_total", transport="webhook", outcome="deferred", status="none") == 1


def test_what_an_ordered_destination_holds_up_is_blocked(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    body = {"transport": "webhook", "address": {"url": f"{gateway.receiver_url}/status/500"}, "ordered": True}
    tenant.post("/api/v1/destinations", {"name": "ordered", **body})
    channel = tenant.channel()
    event_id = tenant.post("/event/create", incident(channel))["data"]["event_id"]
    for _ in range(2):
        tenant.post("/event/update", incident(channel, event_id=event_id))
    watch.until("tocsin_queue_deliveries", 2, state="blocked")


def test_what_waits_for_a_paused_destination_is_idle_and_in_no_hurry(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    made = tenant.webhook(f"{gateway.receiver_url}/paused")
    tenant.post(f"/api/v1/destinations/{made['id']}/pause")
    assert watch.by("tocsin_destinations", state="paused") == 1
    emit(tenant, 2)
    watch.until("tocsin_queue_deliveries", 2, state="idle")
    assert watch.by("tocsin_queue_oldest_due_seconds") == 0
    tenant.post(f"/api/v1/destinations/{made['id']}/resume")
    watch.until("tocsin_queue_deliveries", 0, state="idle")


def test_a_destination_that_is_gone_is_disabled_and_its_delivery_given_up(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/status/410")
    emit(tenant)
    watch.until("tocsin_destinations", state="disabled")
    watch.until("tocsin_deliveries_finished_total", transport="webhook", state="expired")


# -- refusing ----------------------------------------------------------------------------------------------


def test_refusals_are_counted_by_their_codes(gateway: Gateway, watch: Watch) -> None:
    tenant = tenant_of(gateway)
    tenant.ask("POST", "/emit", {"event": 7})
    gateway.process.request("GET", "/api/v1/destinations")
    tenant.ask("PUT", "/api/v1/destinations")
    assert watch.by("tocsin_refusals_total", dialect="buildable", code="invalid_request") == 1
    assert watch.by("tocsin_refusals_total", dialect="native", code="unauthorized") == 1
    assert watch.by("tocsin_refusals_total", dialect="native", code="method_not_allowed") == 1
    assert watch.by("tocsin_faults_total") == 0


@pytest.mark.one_store("SQLite alone shares a disk with the gateway")
def test_a_full_disk_shows(tmp_path: Path) -> None:
    with running_program(tmp_path, settings={"TOCSIN_METRICS_EVERY_S": "0"}) as running:
        key = running.out.partition("API key")[2].split()[0]
        watch = Watch(lambda: metrics_of(running))
        assert emit_to(running, key) == 200
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        assert emit_to(running, key) == 503
        assert read(metrics_of(running))("tocsin_store_writable") == 0
        assert watch.by("tocsin_store_commit_failures_total") >= 1
        assert watch.by("tocsin_events_total", dialect="buildable", result="unavailable") == 1
        assert watch.by("tocsin_refusals_total", dialect="buildable", code="unavailable") == 1
        assert read(metrics_of(running))("tocsin_store_free_bytes") > 0
        resource.prlimit(running.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def metrics_of(running: Running) -> bytes:
    with wire(running.base_url) as client:
        client.send(request("GET", "/metrics"))
        return client.reply().body


def emit_to(running: Running, key: str) -> int:
    with wire(running.base_url) as client:
        client.send(request("POST", "/emit", f"X-Buildable-Secret: {key}", body=json.dumps(EVENT).encode()))
        return client.reply().status


# -- bounds ------------------------------------------------------------------------------------------------


def test_no_label_holds_what_a_client_chose(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/canary-url", name="canary-name")
    tenant.post("/emit", {"event": "canary-type", "payload": {}})
    tenant.ask("GET", "/canary-path?canary-query=1")
    tenant.ask("GET", "/api/v1/events/evt_canary")
    gateway.receiver.wait_for(1, path="/canary-url")
    assert b"canary" not in gateway.process.request("GET", "/metrics").body


def test_measurements_are_as_rare_as_the_setting_says(store: Store, tmp_path: Path) -> None:
    settings = store.settings() | {"TOCSIN_METRICS_EVERY_S": "3600"}
    with running_program(tmp_path, settings=settings) as running:
        assert read(metrics_of(running))("tocsin_catalog_entries", kind="channel") == 0
        key = running.out.partition("API key")[2].split()[0]
        body = json.dumps({"name": "ops", "password": "pass-1234"}).encode()
        with wire(running.base_url) as client:
            client.send(request("POST", "/api/v1/channels", f"Authorization: Bearer {key}", body=body))
            assert client.reply().status == 201
        assert read(metrics_of(running))("tocsin_catalog_entries", kind="channel") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="process metrics come from /proc")
def test_both_processes_show(gateway: Gateway) -> None:
    told = read(gateway.process.request("GET", "/metrics").body)
    for prefix in ("process", "tocsin_sender_process"):
        assert told(f"{prefix}_open_fds") > 0
        assert told(f"{prefix}_resident_memory_bytes") > 0


# -- the log -----------------------------------------------------------------------------------------------


def attempts_logged(store: Store, directory: Path, logged: str) -> list[dict[str, Any]]:
    """Return the log's lines of attempts, after one that is delivered and one that fails."""
    receiver = Receiver()
    settings = store.settings() | {
        "TOCSIN_LOG_ATTEMPTS": logged,
        "TOCSIN_LOG_FORMAT": "json",
        "TOCSIN_OUTBOUND_ALLOW": "127.0.0.0/8",
    }
    try:
        with running_program(directory, settings=settings) as running:
            key = running.out.partition("API key")[2].split()[0]
            for name, path in (("well", "/well"), ("Bearer sesame", "/status/500")):
                address = {"url": receiver.url + path, "headers": {"X-Secret": "sesame-header"}}
                body = json.dumps({"name": name, "transport": "webhook", "address": address}).encode()
                with wire(running.base_url) as client:
                    client.send(request("POST", "/api/v1/destinations", f"Authorization: Bearer {key}", body=body))
                    assert client.reply().status == 201
            assert emit_to(running, key) == 200
            receiver.wait_for(2)
            running.signal(signal.SIGTERM)
            assert running.ended() == 0
            assert "sesame" not in running.err
            lines = [json.loads(line) for line in running.err.splitlines()]
    finally:
        receiver.close()
    return [line for line in lines if line["event"] == "attempt_made"]


def test_every_attempt_has_a_line_that_says_all_about_it(store: Store, tmp_path: Path) -> None:
    failed, delivered = sorted(attempts_logged(store, tmp_path, "all"), key=lambda line: str(line["name"]))
    assert (delivered["name"], delivered["outcome"], delivered["next_due"]) == ("well", "delivered", None)
    assert (failed["name"], failed["outcome"], failed["status_code"]) == ("Bearer ***", "deferred", 500)
    assert failed["error_class"] == "status"
    assert failed["next_due"].endswith("Z")
    for line in (delivered, failed):
        assert line["delivery"].startswith("dlv_")
        assert line["attempted_event"].startswith("evt_")
        assert line["destination"].startswith("dst_")
        assert (line["transport"], line["number"], line["level"]) == ("webhook", 1, "info")
        assert line["duration_ms"] >= 0
        assert (line["event_bytes"], line["answer_bytes"]) == (2, 2)


@pytest.mark.parametrize(("logged", "outcomes"), [("failed", ["deferred"]), ("off", [])])
def test_only_the_attempts_that_are_wanted_have_lines(
    store: Store, tmp_path: Path, logged: str, outcomes: list[str]
) -> None:
    assert [line["outcome"] for line in attempts_logged(store, tmp_path, logged)] == outcomes
