"""Requests to the fakes, by the standard library's own client."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from gateway import Answer

DEADLINE_S = 20.0


def call(method: str, url: str, body: Any = None, *, headers: dict[str, str] | None = None) -> Answer:
    """Send one request; a body that is not bytes goes as JSON."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE_S)
    sent = dict(headers or {})
    raw = body
    if body is not None and not isinstance(body, bytes):
        raw = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, raw, sent)
        response = connection.getresponse()
        return Answer(
            response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        )
    finally:
        connection.close()


def post(url: str, body: Any, **headers: str) -> Answer:
    """Send a POST."""
    return call("POST", url, body, headers=headers)


def control(url: str, name: str, orders: Any) -> Answer:
    """Tell the control of a fake what to do."""
    return post(f"{url.rstrip('/')}/_control/{name}", orders)
