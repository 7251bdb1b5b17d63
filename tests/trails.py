"""An organisation whose audit trail is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from gateway import Gateway
from tenants import Tenant, tenant_of

SINCE = {"since": "2020-01-01T00:00:00Z"}
CANARY = "canary-4f1b"
"""Part of every secret."""


@dataclass(frozen=True, slots=True)
class Stand:
    """An organisation on which things are tried.

    Attributes:
        closed: a URL whose receiver refuses everything for good.
    """

    tenant: Tenant
    operator: Tenant
    url: str
    closed: str

    def records(self, query: str = "") -> list[dict[str, Any]]:
        """Return the newest records, newest first."""
        found: list[dict[str, Any]] = self.tenant.get(f"/api/v1/audit?limit=100{query}")["records"]
        return found

    def destination(self, url: str | None = None) -> str:
        made: str = self.tenant.webhook(url or self.url)["id"]
        return made

    def endpoint(self) -> dict[str, Any]:
        return self.tenant.endpoint(self.url)

    def webhook(self, name: str = "orders") -> None:
        self.tenant.put(f"/events/v2/projects/shop/webhooks/{name}", {"event": "order-paid", "url": self.closed})

    def event(self) -> str:
        key: str = self.tenant.post("/emit", {"event": "user.created", "payload": {}})["key"]
        return key

    def delivery(self, *, retries: bool) -> str:
        """Return a delivery that waits for its retry, or that was given up."""
        destination = self.destination(self.closed.replace("410", "503") if retries else self.closed)
        self.event()
        status = "retrying" if retries else "failed"
        for _ in range(400):
            found = self.tenant.get(f"/api/v1/deliveries?destination={destination}&status={status}")["deliveries"]
            if found:
                made: str = found[0]["id"]
                return made
        pytest.fail(f"no delivery is {status}")

    def native_frame_delivery(self) -> str:
        self.tenant.put(
            "/events/v2/projects/shop/webhooks/late",
            {"event": "order-late", "url": self.closed.replace("410", "503")},
        )
        self.tenant.post("/events/v2/projects/shop/events/order-late", {"order": 1})
        for _ in range(400):
            found = self.tenant.get("/events/v2/history/webhooks/late")
            if found and found[0]["attempts"] == 1:
                made: str = found[0]["id"]
                return made
        pytest.fail("no delivery is retried")


def stand_of(gateway: Gateway) -> Stand:
    """Make an organisation."""
    return Stand(
        tenant_of(gateway),
        Tenant(gateway.process, gateway.process.keys["operator_key"]),
        f"{gateway.receiver_url}/hook?token={CANARY}",
        f"{gateway.receiver_url}/status/410",
    )
