"""What schemathesis cannot know: which things there are, who signs what, and which fault is promised.

Loaded by its command line through the variable ``SCHEMATHESIS_HOOKS``, in a process of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from typing import Any

import schemathesis
from requests import PreparedRequest

_REAL: dict[str, str] = json.loads(os.environ["TOCSIN_REAL_THINGS"])
"""What stands in the document's examples, and the real thing that takes its place."""

_SECRET = os.environ["TOCSIN_ENDPOINT_SECRET"]
_OPERATOR_KEY = os.environ["TOCSIN_OPERATOR_KEY"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put real things in the place of the examples, unless they would be deleted; sign; show the right key."""
    if case.method.upper() != "DELETE":
        case.path_parameters = _real(case.path_parameters)
        case.query = _real(case.query)
        case.body = _real(case.body)
    if case.path in ("/api/v1/event", "/api/v1/events") and isinstance(case.query, dict):
        # By contract it waits for what a receiver says, and answers 500 when that is a failure.
        case.query.pop("wait", None)
    if case.path.startswith("/api/v1/organisations"):
        case.headers["Authorization"] = f"Bearer {_OPERATOR_KEY}"
    if case.path.endswith("/e/{endpoint_id}"):
        kwargs["auth"] = _signed


def _real(value: Any) -> Any:
    if isinstance(value, str):
        for example, real in _REAL.items():
            value = value.replace(example, real)
        return value
    if isinstance(value, list):
        return [_real(each) for each in value]
    if isinstance(value, dict):
        return {name: _real(each) for name, each in value.items()}
    return value


def _signed(request: PreparedRequest) -> PreparedRequest:
    given = request.body or b""
    body = given if isinstance(given, bytes) else str(given).encode()
    timestamp = str(int(time.time()))
    digest = hmac.new(_SECRET.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    request.headers.update({"X-PJ-Signature": digest.hexdigest(), "X-PJ-Timestamp": timestamp})
    return request
