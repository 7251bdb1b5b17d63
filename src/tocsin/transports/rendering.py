"""An event as each format writes it for a webhook.

An event's data is one JSON document already, so it is put into the enclosing one as it stands: no number loses a
digit on the way, and nothing is decoded.

Sources: Standard Webhooks specification, "Payload structure"; CloudEvents 1.0.2, JSON event format and HTTP protocol
binding.
"""

from __future__ import annotations

import re
from typing import assert_never
from urllib.parse import quote

import msgspec

from tocsin.core.clock import rfc3339
from tocsin.core.destination import Format
from tocsin.core.event import Event
from tocsin.core.identifiers import prefixed

JSON = "application/json"
CLOUDEVENTS_JSON = "application/cloudevents+json"

_SPEC_VERSION = "1.0"
_URI_REFERENCE = "/:?#[]@!$&'()*+,;=%-._~"
"""What a URI reference may hold as it is (RFC 3986), letters and digits aside."""
_PLAIN = re.compile(r"[!#$&-~]*")
"""Printable ASCII without the space, the double quote and the percent sign."""


class Rendered(msgspec.Struct, frozen=True):
    """A body, and the headers that belong to it.

    Attributes:
        headers: beside ``Content-Type``.
    """

    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def render(event: Event, form: Format) -> Rendered:
    """Return an event as a webhook gets it."""
    match form:
        case Format.RAW:
            return Rendered(event.data)
        case Format.STANDARD:
            return Rendered(_standard(event))
        case Format.CLOUDEVENTS:
            return Rendered(_spliced({**_attributes(event), "datacontenttype": JSON}, event.data), CLOUDEVENTS_JSON)
        case Format.CLOUDEVENTS_BINARY:
            attributes = _attributes(event)
            return Rendered(
                event.data, headers=tuple((f"ce-{name}", header_text(attributes[name])) for name in attributes)
            )
    assert_never(form)


def header_text(text: str) -> str:
    """Return text fit for a header's value: what is not plain printable ASCII is percent-encoded as UTF-8.

    Source: CloudEvents HTTP protocol binding, section 3.1.3.2.
    """
    if _PLAIN.fullmatch(text) is not None:
        return text
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E and byte not in b'"%' else f"%{byte:02X}" for byte in text.encode()
    )


def _standard(event: Event) -> bytes:
    return _spliced({"type": event.type, "timestamp": rfc3339(event.time_ms, milliseconds=True)}, event.data)


def _attributes(event: Event) -> dict[str, str]:
    """Return an event's CloudEvents attributes, with ``data`` and what describes it left out."""
    attributes = {
        "specversion": _SPEC_VERSION,
        "id": prefixed("evt", event.id),
        "source": quote(event.source, safe=_URI_REFERENCE),
        "type": event.type,
        "time": rfc3339(event.time_ms, milliseconds=True),
    }
    if event.subject:
        attributes["subject"] = event.subject
    return attributes


def _spliced(members: dict[str, str], data: bytes) -> bytes:
    """Return a JSON object of these members and, last, ``data`` as it stands."""
    return b'%b,"data":%b}' % (msgspec.json.encode(members)[:-1], data)
