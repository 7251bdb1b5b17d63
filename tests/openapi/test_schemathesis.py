"""schemathesis asks a real gateway what the document allows and what it does not; every answer is a described one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import Gateway
from tenants import PASSWORD, Tenant, incident, tenant_of
from tocsin.web.openapi.schemas import identifier

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
NEVER_ENDS = "^/api/v1/stream$"
"""An answer that goes on for ever is nothing to wait for."""

LONGER_S = int(os.environ.get("TOCSIN_SCHEMATHESIS_S", "0"))
"""How long to make up further requests; 0 is the document's own examples and bounds, always the same ones."""

DEADLINE_S = 110 + LONGER_S
EXAMPLE_HEX = identifier("")["examples"][0]
EXAMPLE_CHANNEL = "06K2RCNJY1Y7T7MZ58Q6R5PGXC"


def real_things(tenant: Tenant, receiver_url: str) -> tuple[dict[str, str], str]:
    """Make one of everything; return what takes the place of which example, and the secret of the endpoint."""
    channel = tenant.channel()
    tenant.category()
    destination = tenant.webhook(f"{receiver_url}/described")
    endpoint = tenant.endpoint(f"{receiver_url}/described")
    opened = tenant.post("/event/create", incident(channel))["data"]["event_id"]
    delivery = tenant.get("/api/v1/deliveries")["deliveries"][0]["id"]
    url = {"event": "order-paid", "url": f"{receiver_url}/described"}
    tenant.put("/events/v2/projects/shop/webhooks/billing", url)
    return {
        f"dst_{EXAMPLE_HEX}": destination["id"],
        f"ep_{EXAMPLE_HEX}": endpoint["id"],
        f"dlv_{EXAMPLE_HEX}": delivery,
        EXAMPLE_HEX: opened,
        EXAMPLE_CHANNEL: channel,
        "pass-1234": PASSWORD,
        "https://hooks.example.com": receiver_url,
    }, endpoint["secret"]


@pytest.mark.acceptance
@pytest.mark.timeout(DEADLINE_S + 10)
def test_every_answer_is_one_that_the_document_describes(gateway: Gateway, tmp_path: Path) -> None:
    tenant = tenant_of(gateway)
    things, secret = real_things(tenant, gateway.receiver_url)
    longer = ["--max-time", str(LONGER_S)] if LONGER_S else ["--generation-deterministic"]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.base_url}/api/v1/openapi.json"),
        *("--phases", "examples,coverage,fuzzing" if LONGER_S else "examples,coverage"),
        *("--checks", CHECKS, "--exclude-path-regex", NEVER_ENDS),
        *("--header", f"Authorization: Bearer {tenant.key}", "--header", f"X-Buildable-Secret: {tenant.key}"),
        *("--request-timeout", "20", "--continue-on-failure", "--no-color", "--warnings", "off"),
        *longer,
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": str(HOOKS),
        "TOCSIN_REAL_THINGS": json.dumps(things),
        "TOCSIN_ENDPOINT_SECRET": secret,
        "TOCSIN_OPERATOR_KEY": gateway.process.keys["operator_key"],
    }

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    # Only a signed request for an endpoint that exists is stored: what the hooks put in was sent.
    assert tenant.get(f"/api/v1/events?endpoint_id={things[f'ep_{EXAMPLE_HEX}']}")["total"] > 0
