"""``tocsin ingest``: bytes as they are in the file, signed with the endpoint's secret."""

from __future__ import annotations

from typing import Any

import pytest

from cli.commands import Shell
from gateway import Gateway

pytestmark = pytest.mark.acceptance

BODY = b'{"event_type": "order.created",   "sum": 1.50}\n'


def test_a_signed_event_reaches_the_receiver_byte_for_byte(shell: Shell, gateway: Gateway) -> None:
    path = f"/ingested/{shell.tenant.key[-8:]}"
    endpoint = shell.tenant.endpoint(gateway.receiver_url + path)
    secret = shell.file("secret", endpoint["secret"] + "\n")
    told = shell.ok("ingest", endpoint["id"], shell.file("body.json", BODY), "--secret-file", secret)
    assert told["event_id"].startswith("evt_")
    assert (told["status"], told["repeated"]) == ("QUEUED", False)
    (arrival,) = gateway.receiver.wait_for(1, path=path)
    assert arrival.body == BODY
    assert arrival.headers["x-pj-event-type"] == "order.created"


def test_headers_and_the_secret_of_the_environment(shell: Shell, gateway: Gateway) -> None:
    endpoint = shell.tenant.endpoint(f"{gateway.receiver_url}/other")
    options = ("--type", "order.paid", "--correlation-id", "c-1", "--idempotency-key", "k-1")
    first = shell.ok("ingest", endpoint["id"], *options, stdin=BODY, TOCSIN_SIGNING_SECRET=endpoint["secret"])
    stored = shell.tenant.get(f"/api/v1/events/{first['event_id']}")
    assert (stored["event_type"], stored["correlation_id"]) == ("order.paid", "c-1")
    again = shell.ok("ingest", endpoint["id"], *options, stdin=BODY, TOCSIN_SIGNING_SECRET=endpoint["secret"])
    assert again == {**first, "repeated": True}
    other = shell.run("ingest", endpoint["id"], *options, stdin=b"{}", TOCSIN_SIGNING_SECRET=endpoint["secret"])
    assert other.status == 8
    assert "(409)" in other.err


def test_a_wrong_secret_endpoint_or_body_is_told(shell: Shell, gateway: Gateway) -> None:
    endpoint = shell.tenant.endpoint(f"{gateway.receiver_url}/other")
    wrong: dict[str, Any] = {"TOCSIN_SIGNING_SECRET": "whsec_" + "A" * 43 + "="}
    right: dict[str, Any] = {"TOCSIN_SIGNING_SECRET": endpoint["secret"]}
    line = shell.refused(6, "ingest", endpoint["id"], says="Invalid signature (401)", stdin=b"{}", **wrong)
    assert "--key" not in line
    shell.refused(7, "ingest", "ep_" + "0" * 32, says="Endpoint not found (404)", stdin=b"{}", **right)
    shell.refused(8, "ingest", endpoint["id"], says="(400)", stdin=b"{", **right)
    shell.refused(2, "ingest", endpoint["id"], says="signing secret missing", stdin=b"{}")
    shell.refused(2, "ingest", endpoint["id"], "nowhere.json", says="nowhere.json cannot be read", **right)
