"""The quick start, as a person types it: a signature by openssl, a request by curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from gateway import Gateway

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        shutil.which("openssl") is None or shutil.which("curl") is None or shutil.which("sh") is None,
        reason="the quick start is made of sh, openssl and curl",
    ),
]

SEND = """
set -eu
BODY='{"event_type":"order.created","payload":{"order_id":"ORD-001","amount":99.99}}'
TIMESTAMP=$(date +%s)
SIGNATURE=$(printf '%s.%s' "$TIMESTAMP" "$BODY" | openssl dgst -sha256 -hmac "$SECRET" | sed 's/^.* //')
curl --silent --show-error --request POST "$BASE/e/$ENDPOINT" \\
  --header "Authorization: Bearer $KEY" \\
  --header "Content-Type: application/json" \\
  --header "X-PJ-Signature: $SIGNATURE" \\
  --header "X-PJ-Timestamp: $TIMESTAMP" \\
  --data-raw "$BODY"
"""

CREATE = """
set -eu
curl --silent --show-error --request POST "$BASE/api/v1/endpoints" \\
  --header "Authorization: Bearer $KEY" \\
  --header "Content-Type: application/json" \\
  --data-raw "{\\"url\\":\\"$URL\\"}"
"""

VECTOR = "printf '%s' '1700000000.{\"ok\":true}' | openssl dgst -sha256 -hmac whsec_fixture | sed 's/^.* //'"


def run(script: str, **variables: str) -> str:
    """Return what a script prints; it gets these variables and the path alone."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "NO_PROXY": "*", **variables}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answered(script: str, **variables: str) -> Any:
    return json.loads(run(script, **variables))


def test_openssl_makes_the_published_signature() -> None:
    assert run(VECTOR).strip() == "31a99e5c88be4311395a895ea0d686baf164714d49a52bae17fad334b78db984"


def test_an_endpoint_is_made_and_a_signed_event_reaches_its_receiver(gateway: Gateway) -> None:
    key = gateway.new_organisation()["key"]
    path = "/quickstart"
    made = answered(CREATE, BASE=gateway.base_url, KEY=key, URL=gateway.receiver_url + path)
    sent = answered(SEND, BASE=gateway.base_url, KEY=key, ENDPOINT=made["id"], SECRET=made["secret"])
    assert sent.keys() == {"id", "status", "message"}
    assert (sent["status"], sent["message"]) == ("QUEUED", "Event received and queued for delivery")
    (arrival,) = gateway.receiver.wait_for(1, path=path)
    assert arrival.body == b'{"event_type":"order.created","payload":{"order_id":"ORD-001","amount":99.99}}'
    assert arrival.headers["x-pj-event-id"] == sent["id"]
    assert arrival.headers["x-pj-event-type"] == "order.created"
