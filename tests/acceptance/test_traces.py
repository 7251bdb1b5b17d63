"""Traces, as a collector gets them from a real gateway: which spans there are, and how they hang together."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from gateway import Gateway, Receiver
from program import DEADLINE_S, environment, running_program
from stores import Store
from tenants import Tenant, tenant_of
from wire import request, wire

pytestmark = pytest.mark.acceptance

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SPANS_S = 20.0
END_S = 20.0
"""OpenTelemetry's own end waits for thirty."""


class Collector(Receiver):
    """Takes OTLP over HTTP; any other request is answered as the receiver does."""

    def exports(self) -> list[ExportTraceServiceRequest]:
        return [
            ExportTraceServiceRequest.FromString(each.body) for each in self.arrivals if each.path == "/v1/traces"
        ]

    def spans(self, trace: str) -> dict[str, Span]:
        """Return the spans of a trace by their names."""
        return {
            span.name: span
            for export in self.exports()
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace
        }

    def wait_for_spans(self, trace: str, *names: str) -> dict[str, Span]:
        self.wait_until(lambda: set(names) <= set(self.spans(trace)), timeout_s=SPANS_S)
        found = self.spans(trace)
        assert set(names) <= set(found), sorted(found)
        return found


@pytest.fixture(scope="module")
def collector(store: Store) -> Iterator[Collector]:
    """A collector of its own for each engine, since both are asked for the same traces."""
    taking = Collector()
    yield taking
    taking.close()


@contextmanager
def tracing(store: Store, collector: Collector, **settings: str) -> Iterator[Gateway]:
    given = {
        "TOCSIN_TRACES": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        **settings,
    }
    with store.gateway_with(given) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def gateway(store: Store, collector: Collector) -> Iterator[Gateway]:
    with tracing(store, collector, OTEL_RESOURCE_ATTRIBUTES="deployment.environment=tests") as running:
        yield running


def emit(tenant: Tenant, **headers: str) -> None:
    """Send an event."""
    tenant.post("/emit", {"event": "order.created", "payload": {}}, headers)


def said(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_clients_trace_goes_on_through_request_commit_attempt_and_to_the_receiver(
    gateway: Gateway, collector: Collector
) -> None:
    tenant = tenant_of(gateway)
    made = tenant.webhook(f"{gateway.receiver_url}/traced")
    emit(tenant, traceparent=f"00-{TRACE}-{PARENT}-01")

    (arrived,) = gateway.receiver.wait_for(1, path="/traced")
    spans = collector.wait_for_spans(TRACE, "POST /emit", "commit", "attempt webhook")

    request_span, commit, attempt = spans["POST /emit"], spans["commit"], spans["attempt webhook"]
    assert request_span.parent_span_id.hex() == PARENT
    assert commit.parent_span_id == attempt.parent_span_id == request_span.span_id
    assert arrived.headers["traceparent"] == f"00-{TRACE}-{attempt.span_id.hex()}-01"
    assert (request_span.kind, attempt.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT)
    assert request_span.start_time_unix_nano <= attempt.end_time_unix_nano
    assert said(request_span)["http.response.status_code"] == 200
    assert said(commit)["tocsin.result"] == "stored"
    assert said(commit)["tocsin.event"] == said(attempt)["tocsin.event"] == arrived.headers["webhook-id"]
    told = said(attempt)
    assert (told["tocsin.destination"], told["tocsin.outcome"]) == (made["id"], "delivered")
    assert (told["tocsin.attempt"], told["http.response.status_code"]) == (1, 200)


def test_each_attempt_is_a_span_of_its_own_that_tells_why_it_failed(gateway: Gateway, collector: Collector) -> None:
    trace = "5" * 32
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/status/503")
    emit(tenant, traceparent=f"00-{trace}-{PARENT}-01")
    attempt = collector.wait_for_spans(trace, "attempt webhook")["attempt webhook"]
    assert attempt.status.code == Status.STATUS_CODE_ERROR
    assert said(attempt)["error.type"] == "status"
    assert said(attempt)["tocsin.outcome"] == "deferred"


def test_the_service_is_named_and_the_environments_words_are_kept(gateway: Gateway, collector: Collector) -> None:
    emit(tenant_of(gateway), traceparent=f"00-{'6' * 32}-{PARENT}-01")
    collector.wait_for_spans("6" * 32, "commit")
    (resource,) = collector.exports()[-1].resource_spans
    told = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (told["service.name"], told["deployment.environment"]) == ("tocsin", "tests")


def test_what_the_client_does_not_sample_is_passed_on_and_not_recorded(
    gateway: Gateway, collector: Collector
) -> None:
    trace = "7" * 32
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/unsampled")
    emit(tenant, traceparent=f"00-{trace}-{PARENT}-00")
    emit(tenant, traceparent=f"00-{'8' * 32}-{PARENT}-01")
    first, _ = gateway.receiver.wait_for(2, path="/unsampled")
    assert first.headers["traceparent"].startswith(f"00-{trace}-")
    assert first.headers["traceparent"].endswith("-00")
    collector.wait_for_spans("8" * 32, "commit", "attempt webhook")
    assert collector.spans(trace) == {}


@pytest.mark.parametrize("given", ["", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_traceparent_that_is_none_begins_a_new_trace(gateway: Gateway, collector: Collector, given: str) -> None:
    tenant = tenant_of(gateway)
    path = f"/fresh-{len(given)}-{given[:2]}"
    tenant.webhook(f"{gateway.receiver_url}{path}")
    emit(tenant, traceparent=given)
    (arrived,) = gateway.receiver.wait_for(1, path=path)
    trace = arrived.headers["traceparent"].split("-")[1]
    assert trace not in (TRACE, "0" * 32)
    request_span = collector.wait_for_spans(trace, "POST /emit")["POST /emit"]
    assert request_span.parent_span_id == b""


def test_a_trace_is_no_part_of_what_a_dialect_shows(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    tenant.webhook(f"{gateway.receiver_url}/shown")
    emit(tenant, traceparent=f"00-{'9' * 32}-{PARENT}-01")
    (arrived,) = gateway.receiver.wait_for(1, path="/shown")
    assert b"9" * 32 not in arrived.body
    assert "9" * 32 not in str(tenant.get("/api/v1/events"))


@pytest.mark.parametrize("answers", [False, True], ids=["refuses connections", "never answers"])
def test_a_collector_that_is_away_stops_neither_events_nor_the_end(
    store: Store, tmp_path: Path, answers: bool
) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        if answers:
            bound.listen()
        settings = store.settings() | {
            "TOCSIN_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{bound.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with running_program(tmp_path, settings=settings) as running:
            key = running.out.partition("API key")[2].split()[0]
            body = b'{"event": "a", "payload": {}}'
            with wire(running.base_url) as client:
                client.send(request("POST", "/emit", f"X-Buildable-Secret: {key}", body=body))
                assert client.reply().status == 200
            running.signal(signal.SIGTERM)
            assert running.ended(END_S) == 0


PROBE = """
import asyncio
import sys
from tocsin.bootstrap import SystemClock, gateway, load_settings
async def main():
    async with gateway(load_settings(data="data"), clock=SystemClock(), on_fatal=print):
        print(sorted(name for name in sys.modules if name.startswith("opentelemetry")))
asyncio.run(main())
"""


@pytest.mark.one_store("what is imported before a store is opened")
def test_nothing_of_opentelemetry_is_imported_unless_traces_are_wanted(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )
    assert done.stdout.strip().endswith("[]"), done.stdout


@pytest.mark.one_store("the start ends before a store is opened")
def test_without_the_extra_the_setting_is_refused_in_words_that_help(tmp_path: Path) -> None:
    blocked = 'import sys; sys.modules["opentelemetry"] = None; from tocsin.cli.main import main; main()'
    done = subprocess.run(
        [sys.executable, "-c", blocked, "serve", "--port", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env=environment({"TOCSIN_TRACES": "true"}),
    )
    assert done.returncode == 2
    assert "pip install 'tocsin[otel]'" in done.stderr
