"""An event as each format writes it for a webhook.

An event's data is one JSON document already, so it is put into the enclosing one as it stands: no number loses a
digit on the way, and nothing is decoded. An event that came as a CloudEvent leaves as it came: with its own id, its
extensions, and its data in their own content type.

Sources: Standard Webhooks specification, "Payload structure"; CloudEvents 1.0.2, JSON event format and HTTP protocol
binding.
"""

from __future__ import annotations

import re
from base64 import b64decode
from typing import assert_never
from urllib.parse import quote

import msgspec

from tocsin.core.clock import rfc3339
from tocsin.core.cloudevents import JSON, SPEC_VERSION, Content, Kept, kept_of, written
from tocsin.core.destination import Format
from tocsin.core.event import Event
from tocsin.core.identifiers import prefixed

CLOUDEVENTS_JSON = "application/cloudevents+json"
_UNKNOWN = "application/octet-stream"
"""What ``raw`` calls bytes of which nobody said what they are."""

_URI_REFERENCE = "/:?#[]@!$&'()*+,;=%-._~"
"""What a URI reference may hold as it is (RFC 3986), letters and digits aside."""
_PLAIN = re.compile(r"[!#$&-~]*")
"""Printable ASCII without the space, the double quote and the percent sign."""


class Rendered(msgspec.Struct, frozen=True):
    """A body, and the headers that belong to it.

    Attributes:
        content_type: None where nobody said what the body is, and saying it would be an attribute more.
        headers: beside ``Content-Type``.
    """

    body: bytes
    content_type: str | None = JSON
    headers: tuple[tuple[str, str], ...] = ()


def render(event: Event, form: Format) -> Rendered:
    """Return an event as a webhook gets it."""
    match form:
        case Format.RAW:
            body, content_type = _content(event, kept_of(event), nothing=b"null")
            return Rendered(body, _UNKNOWN if content_type is None else content_type)
        case Format.STANDARD:
            return Rendered(_standard(event))
        case Format.CLOUDEVENTS:
            return Rendered(_structured(event, kept_of(event)), CLOUDEVENTS_JSON)
        case Format.CLOUDEVENTS_BINARY:
            kept = kept_of(event)
            attributes = _attributes(event, kept)
            headers = tuple((f"ce-{name}", header_text(written(attributes[name]))) for name in attributes)
            return Rendered(*_content(event, kept, nothing=b""), headers)
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


def _attributes(event: Event, kept: Kept | None) -> dict[str, bool | int | str]:
    """Return an event's CloudEvents attributes, with ``data`` and its content type left out."""
    attributes: dict[str, bool | int | str] = {
        "specversion": SPEC_VERSION,
        "id": prefixed("evt", event.id),
        "source": quote(event.source, safe=_URI_REFERENCE),
        "type": event.type,
    }
    if kept is not None and event.replay_of is None:
        # A replay is to be taken as a new event, and receivers drop what has a known id and source.
        attributes["id"] = kept.id
    if kept is None or kept.time is None:
        attributes["time"] = rfc3339(event.time_ms, milliseconds=True)
    else:
        attributes["time"] = kept.time
    if event.subject:
        attributes["subject"] = event.subject
    if kept is not None:
        if kept.dataschema is not None:
            attributes["dataschema"] = kept.dataschema
        attributes |= kept.extensions
    return attributes


def _structured(event: Event, kept: Kept | None) -> bytes:
    attributes = _attributes(event, kept)
    content = Content.JSON if kept is None else kept.content
    content_type = None if kept is None else kept.datacontenttype
    if content_type is None and content is Content.JSON:
        # It was implied, and is said where it might not be. Bytes without one imply nothing.
        content_type = JSON
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    if content is Content.NONE:
        return msgspec.json.encode(attributes)
    return _spliced(attributes, event.data, "data_base64" if content is Content.BASE64 else "data")


def _content(event: Event, kept: Kept | None, *, nothing: bytes) -> tuple[bytes, str | None]:
    """Return an event's data as their producer wrote them, and their content type; None where they have none.

    Args:
        nothing: what to return for an event without data.
    """
    if kept is None:
        return event.data, JSON
    content_type = kept.datacontenttype
    match kept.content:
        case Content.JSON:
            return event.data, content_type or JSON
        case Content.TEXT:
            return msgspec.json.decode(event.data, type=str).encode(), content_type
        case Content.BASE64:
            return b64decode(msgspec.json.decode(event.data, type=str)), content_type
        case Content.NONE:
            return nothing, JSON if nothing else content_type
    assert_never(kept.content)


def _spliced(members: dict[str, bool | int | str] | dict[str, str], data: bytes, name: str = "data") -> bytes:
    """Return a JSON object of these members and, last, the data as they stand."""
    return b'%b,"%b":%b}' % (msgspec.json.encode(members)[:-1], name.encode(), data)
