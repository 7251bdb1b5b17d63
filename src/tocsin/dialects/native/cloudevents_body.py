"""What a request of CloudEvents says, in each of the three modes: pure functions from headers and bytes to values.

Sources: CloudEvents 1.0.2, its JSON event format and its HTTP protocol binding.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from tocsin.core.cloudevents import Content, is_json, media_type
from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.dialects import strict_json
from tocsin.dialects.native.cloudevents_attributes import CloudEvent, read_attributes
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.dialects.native.reading import Faults, Reader, wrong

_TEXTS = frozenset(
    {"application/xml", "application/x-www-form-urlencoded", "application/yaml", "application/javascript"}
)
"""Content types that are text beside ``text/*`` and ``*+xml``."""

_FAULTS_MAX = 100
"""After so many faults the rest of a batch is not looked at."""
_HEADER = b"ce-"
_DATA = ("data", "data_base64")


# -- modes -------------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    """The data of an event, as their bytes stand in the body."""

    data: msgspec.Raw = msgspec.Raw()


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_envelopes = msgspec.json.Decoder(list[_Envelope]).decode


def structured(body: bytes, limits: CloudEventsLimits) -> CloudEvent:
    """Return the event that a JSON body holds.

    Raises:
        MalformedBody: it is not JSON.
        InvalidRequest: ``fields`` lists every fault.
    """
    value = strict_json.decode(body)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    faults = Faults()
    event = _of_object(value, bytes(_read_envelope(body).data), faults, str, limits)
    faults.check()
    assert event is not None
    return event


def batch(body: bytes, limits: CloudEventsLimits) -> list[CloudEvent]:
    """Return the events that a JSON body holds, all of them sound.

    Raises:
        MalformedBody: it is not JSON.
        InvalidRequest: ``fields`` lists the faults of all events, each behind its place, ``[2].source``.
    """
    values = strict_json.decode(body)
    if not isinstance(values, list):
        raise InvalidRequest("the body must be a JSON array")
    if len(values) > limits.batch_events_max:
        raise InvalidRequest(f"the batch has more than {limits.batch_events_max} events")
    faults = Faults()
    for at, value in enumerate(values):
        if not isinstance(value, dict):
            faults.add(f"[{at}]", "must be an object")
    faults.check()
    events: list[CloudEvent] = []
    for at, (value, envelope) in enumerate(zip(values, _read_envelopes(body), strict=True)):
        event = _of_object(value, bytes(envelope.data), faults, f"[{at}].{{}}".format, limits)
        if event is not None:
            events.append(event)
        if len(faults.found) >= _FAULTS_MAX:
            break
    faults.check()
    return events


def binary(
    headers: Iterable[tuple[bytes, bytes]], content_type: str | None, body: bytes, limits: CloudEventsLimits
) -> CloudEvent:
    """Return the event whose attributes are headers and whose data are the body; an empty one is none.

    Args:
        headers: names in lower case.

    Raises:
        MalformedBody: the data are said to be JSON, and are not.
        InvalidRequest: ``fields`` lists every fault.
    """
    faults = Faults()
    given: dict[str, Any] = {} if content_type is None else {"datacontenttype": content_type}
    for name, value in headers:
        if not name.startswith(_HEADER):
            continue
        attribute = name[len(_HEADER) :].decode("latin-1")
        if attribute == "datacontenttype":
            faults.add("ce-datacontenttype", "must stand in Content-Type")
        elif attribute in given:
            faults.add(f"ce-{attribute}", "is there twice")
        else:
            given[attribute] = faults.read(f"ce-{attribute}", _header_text, value)
    event = read_attributes(given, faults, _header_name, limits)
    faults.check()
    assert event is not None
    return event.holding(*_of_bytes(body, content_type)) if body else event


def _header_name(attribute: str) -> str:
    return "Content-Type" if attribute == "datacontenttype" else f"ce-{attribute}"


def _header_text(value: bytes) -> str:
    """Return a header's value: out of its quotes, then percent-decoded once.

    Source: CloudEvents HTTP protocol binding, section 3.1.3.2.
    """
    if len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = _unescaped(value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise wrong("must be percent-encoded UTF-8") from None


def _unescaped(value: bytes) -> bytes:
    parts = value.split(b"\\\\")
    return b"\\".join(part.replace(b"\\", b"") for part in parts)


# -- data --------------------------------------------------------------------------------------------------

_Found = tuple[bytes, Content]
"""One JSON document, and what it stands for."""


def _of_bytes(data: bytes, content_type: str | None) -> _Found:
    """Return content as it is kept. Where no content type says what it is, it is JSON if it reads as JSON.

    Raises:
        MalformedBody: it is said to be JSON, and is not.
    """
    if is_json(content_type):
        try:
            strict_json.decode(data)
        except MalformedBody:
            if content_type is not None:
                raise
        else:
            return data, Content.JSON
    elif _is_text(content_type):
        try:
            return strict_json.encode(data.decode()), Content.TEXT
        except UnicodeDecodeError:
            pass
    return strict_json.encode(b64encode(data).decode()), Content.BASE64


def _is_text(content_type: str | None) -> bool:
    media = media_type(content_type or "")
    return media.startswith("text/") or media.endswith("+xml") or media in _TEXTS


def _of_object(
    value: dict[str, Any], raw: bytes, faults: Faults, name: Callable[[str], str], limits: CloudEventsLimits
) -> CloudEvent | None:
    given = {attribute: each for attribute, each in value.items() if attribute not in _DATA and each is not None}
    event = read_attributes(given, faults, name, limits)
    content_type = event.kept.datacontenttype if event is not None else None
    encoded = value.get("data_base64")
    if encoded is not None and raw:
        faults.add(name("data_base64"), "stands beside data")
        return None
    if event is None:
        return None
    if encoded is not None:
        content: _Found | None = faults.read(name("data_base64"), _base64_of(content_type), encoded)
        return None if content is None else event.holding(*content)
    if not raw:
        return event
    if is_json(content_type):
        return event.holding(raw, Content.JSON)
    if not isinstance(value["data"], str):
        faults.add(name("data"), "must be a text, since datacontenttype is not JSON")
        return None
    # Written anew, so that it is the same as if the text had come by itself.
    return event.holding(strict_json.encode(value["data"]), Content.TEXT)


def _base64_of(content_type: str | None) -> Reader:
    def read(value: Any) -> _Found:
        if not isinstance(value, str):
            raise wrong("must be a text")
        try:
            data = b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise wrong("must be base64") from None
        try:
            return _of_bytes(data, content_type)
        except MalformedBody:
            raise wrong("must hold JSON, as datacontenttype says") from None

    return read
