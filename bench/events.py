"""The events that are sent under load: one of about 300 bytes, as each dialect writes it."""

from __future__ import annotations

import json
from typing import Any

from gateway import Process

DIALECTS = ("pushgo", "pingpilot", "buildable", "nativeframe")

_FILLER = "x" * 200


def request(process: Process, dialect: str, key: str) -> bytes:
    """Return a request that may be sent over and over; makes at the gateway what the dialect needs first."""
    match dialect:
        case "buildable":
            return _http("/emit", {"event": "load", "payload": {"text": _FILLER}}, {"x-buildable-secret": key})
        case "nativeframe":
            path = "/events/v2/projects/bench/events/load"
            return _http(path, {"text": _FILLER}, {"authorization": f"Bearer {key}"})
        case "pingpilot":
            return _pingpilot(process, key)
        case "pushgo":
            return _pushgo(process, key)
        case _:
            raise ValueError(f"no dialect {dialect} here; there are: {', '.join(DIALECTS)}")


def _pingpilot(process: Process, key: str) -> bytes:
    process.request("POST", "/api/v1/categories", {"name": "load", "color": "#ff6b6b"}, key=key)
    email = {"enabled": True, "to": ["bench@example.com"]}
    process.request("PUT", "/api/v1/account", {"email": email}, key=key)
    listed = process.request("GET", "/api/v1/destinations", key=key).json["destinations"]
    for each in (each for each in listed if each["transport"] == "email"):
        # Whoever is measured is told by webhook, as in the other dialects.
        nothing = {"filter": {"types": ["nothing"]}}
        process.request("PATCH", f"/api/v1/destinations/{each['id']}", nothing, key=key)
    return _http("/api/v1/event", {"category": "load", "description": _FILLER}, {"authorization": f"Bearer {key}"})


def _pushgo(process: Process, key: str) -> bytes:
    channel = process.request("POST", "/api/v1/channels", {"name": "b", "password": "pass-1234"}, key=key).json
    body = {
        "channel_id": channel["id"],
        "password": "pass-1234",
        "title": "Load",
        "status": "ongoing",
        "message": _FILLER[:100],
        "severity": "high",
        "event_time": 1713750000,
    }
    return _http("/event/create", body, {"authorization": f"Bearer {key}"})


def _http(path: str, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    raw = json.dumps(body, separators=(",", ":")).encode()
    lines = [f"POST {path} HTTP/1.1", "host: bench", "content-type: application/json", f"content-length: {len(raw)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw
