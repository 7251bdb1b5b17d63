"""An organisation with one of everything, made over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from gateway import Answer, Gateway, Process

PASSWORD = "pass-1234"


class Tenant:
    """One organisation's view of a gateway.

    Args:
        key: with every scope.
    """

    def __init__(self, process: Process, key: str) -> None:
        self.process = process
        self.key = key

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send a request with the key in both of its headers."""
        sent = {"X-Buildable-Secret": self.key, **(headers or {})}
        return self.process.request(method, path, body, key=self.key, headers=sent)

    def get(self, path: str) -> Any:
        """Return what is at a path."""
        return self._done(self.ask("GET", path))

    def post(self, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Return what a POST answers."""
        return self._done(self.ask("POST", path, body, headers))

    def put(self, path: str, body: Any) -> Any:
        """Return what a PUT answers."""
        return self._done(self.ask("PUT", path, body))

    def channel(self, password: str = PASSWORD) -> str:
        """Make a PushGo channel; return its id."""
        made: str = self.post("/api/v1/channels", {"name": "ops", "password": password})["id"]
        return made

    def category(self, name: str = "bug") -> None:
        """Make a category, and somebody who could be told: PingPilot asks for one, who is sent nothing."""
        self.post("/api/v1/categories", {"name": name, "color": "#ff6b6b"})
        self.put("/api/v1/account", {"email": {"enabled": True, "to": ["ops@example.com"]}})
        listed = self.get("/api/v1/destinations")["destinations"]
        (contact,) = [each for each in listed if each["name"] == "email" and each["origin"] == "pingpilot"]
        changed = self.ask("PATCH", f"/api/v1/destinations/{contact['id']}", {"filter": {"types": ["nothing"]}})
        assert changed.status == 200, changed.body

    def webhook(self, url: str, name: str = "all", **address: Any) -> dict[str, Any]:
        """Make a destination that gets every event; return it with its secret."""
        made: dict[str, Any] = self.post(
            "/api/v1/destinations", {"name": name, "transport": "webhook", "address": {"url": url, **address}}
        )
        return made

    def endpoint(self, url: str) -> dict[str, Any]:
        """Make a PromptJang endpoint; return it with its secret."""
        made: dict[str, Any] = self.post("/api/v1/endpoints", {"url": url})
        return made

    @staticmethod
    def _done(answer: Answer) -> Any:
        assert 200 <= answer.status < 300, answer
        return answer.json


def tenant_of(gateway: Gateway) -> Tenant:
    """Make an organisation."""
    return Tenant(gateway.process, gateway.new_organisation()["key"])


def signed(secret: str, body: bytes) -> dict[str, str]:
    """Return the headers of an event for a PromptJang endpoint."""
    timestamp = str(int(time.time()))
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return {"X-PJ-Signature": digest.hexdigest(), "X-PJ-Timestamp": timestamp}


def incident(channel: str, password: str = PASSWORD, **fields: Any) -> dict[str, Any]:
    """Return the body of a PushGo create."""
    return {
        "channel_id": channel,
        "password": password,
        "title": "Database lag",
        "status": "ongoing",
        "message": "Replica delay > 30s",
        "severity": "high",
        "event_time": int(time.time()),
        **fields,
    }


def as_json(value: Any) -> bytes:
    """Return ``value`` as JSON."""
    return json.dumps(value).encode()
