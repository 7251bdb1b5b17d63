"""Whatever a request says, it is read or refused in the caller's terms: nothing else comes out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.destination import Destination, Transport
from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.dialects.native.destination_body import DestinationBodies
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.listing import WINDOW, read_listing
from tocsin.dialects.native.phases import FINAL, phases
from tocsin.dialects.native.reading import digits, flag_word
from tocsin.pipeline.destinations import DestinationBounds
from tocsin.web.http import Request

LIMITS = NativeLimits()
BODIES = DestinationBodies(limits=LIMITS, bounds=DestinationBounds())
BEFORE = Destination(
    id=DestinationId(bytes(16)),
    organisation_id=OrganisationId(bytes(16)),
    name="n",
    transport=Transport.DISCORD,
    created_ms=0,
    updated_ms=0,
    address={"bot_token": "***", "user_id": "1"},
)
WORDS = [
    "name",
    "description",
    "transport",
    "address",
    "filter",
    "format",
    "retry",
    "timeout_s",
    "rate_per_s",
    "concurrency",
    "ordered",
    "enabled",
    "paused",
    "url",
    "method",
    "headers",
    "webhook_url",
    "bot_token",
    "user_id",
    "chat_id",
    "to",
    "device_key",
    "dialects",
    "sources",
    "types",
    "subjects",
    "severities",
    "preset",
    "schedule_s",
    "jitter",
    "since",
    "until",
    "status",
    "where",
    "webhook",
    "discord",
    "telegram",
    "email",
    "mailbox",
    "pushgo",
    "high",
    "raw",
    "default",
    "POST",
    "***",
    "X-A",
    "limit",
    "cursor",
    "dry_run",
]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=6),
    max_leaves=20,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=10)


@given(OBJECTS, st.sampled_from(["webhook", "discord", "telegram", "email", "mailbox", "apprise"]))
def test_any_body(body: dict[str, Any], transport: str) -> None:
    encoded = msgspec.json.encode(body)
    with suppress(InvalidRequest):
        BODIES.creation(msgspec.json.encode({"name": "n", "transport": transport, "address": {}, **body}))
    with suppress(InvalidRequest):
        BODIES.creation(msgspec.json.encode({"name": "n", "transport": transport, "address": body}))
    for destination in (BEFORE, msgspec.structs.replace(BEFORE, transport=Transport(transport), address={})):
        with suppress(InvalidRequest):
            BODIES.change(encoded, destination)
    with suppress(InvalidRequest):
        BODIES.recovering(encoded)


@given(st.lists(st.tuples(TEXTS, st.text(max_size=30)), max_size=6))
def test_any_query(pairs: list[tuple[str, str]]) -> None:
    query = urlencode([(name, value.encode("utf-8", "surrogatepass")) for name, value in pairs])
    request = Request({"query_string": query.encode(), "headers": []}, b"")
    terms = {**WINDOW, "status": phases(FINAL), "jitter": digits(0, 9), "dry_run": flag_word}
    with suppress(InvalidRequest):
        read_listing(request, terms, LIMITS)


@given(st.binary(max_size=40))
def test_any_query_string(query: bytes) -> None:
    with suppress(InvalidRequest):
        read_listing(Request({"query_string": query, "headers": []}, b""), WINDOW, LIMITS)
