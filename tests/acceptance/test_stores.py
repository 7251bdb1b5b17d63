"""What the other tests here stand on: a test's gateways store things where its name says."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway import Gateway, Process
from stores import Store
from tenants import Tenant, tenant_of

pytestmark = pytest.mark.acceptance


def engine_of(process: Process) -> str:
    """Return the engine as the gateway tells it."""
    told: str = process.request("GET", "/ready").json["engine"]
    return told


def test_the_shared_gateway_and_one_of_a_tests_own_store_where_the_name_says(gateway: Gateway, store: Store) -> None:
    assert engine_of(gateway.process) == store.name
    tenant_of(gateway).channel()
    with store.gateway_with({}) as own:
        assert engine_of(own.process) == store.name
        assert own.process.keys, "its store was not empty"


def test_what_was_kept_takes_the_place_of_what_came_later(store: Store, tmp_path: Path) -> None:
    process = Process(tmp_path / "data", store.settings())
    process.start()
    try:
        assert engine_of(process) == store.name
        tenant = Tenant(process, process.keys["api_key"])
        before = tenant.post("/emit", {"event": "before", "payload": {}})["key"]
        process.stop()
        put_back = store.keep(process)
        process.start()
        tenant.post("/emit", {"event": "after", "payload": {}})
        process.kill()
        put_back()
        process.start()
        assert [each["id"] for each in tenant.get("/api/v1/events")["events"]] == [f"evt_{before}"]
    finally:
        process.stop()
