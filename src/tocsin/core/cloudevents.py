"""What a CloudEvent has beside the event that is made of it, kept so that it is given back as it came.

Source: CloudEvents 1.0.2, https://github.com/cloudevents/spec/tree/v1.0.2/cloudevents.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.event import Dialect, Event

SPEC_VERSION = "1.0"
JSON = "application/json"
"""What the data are where no content type is named."""

_KEPT = "cloudevents"
"""Under which name it stands in an event's extension."""


class Content(StrEnum):
    """What an event's data, one JSON document, stand for.

    ``text`` and ``base64`` are JSON strings: content of another type, as text where it is text, else in base64.
    ``none`` is null, for an event without data.
    """

    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"
    NONE = "none"


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Attributes of a CloudEvent that an event has no place for.

    Attributes:
        id: its producer's; unique with the source.
        time: as it was written, to the last digit.
        extensions: by name; numbers and truth values keep their type where they had one.
    """

    id: str
    time: str | None = None
    dataschema: str | None = None
    datacontenttype: str | None = None
    extensions: dict[str, bool | int | str] = {}
    content: Content = Content.JSON


def extension_of(kept: Kept) -> dict[str, Any]:
    """Return the extension of an event that was a CloudEvent."""
    return {_KEPT: msgspec.to_builtins(kept)}


def kept_of(event: Event) -> Kept | None:
    """Return what an event has kept of a CloudEvent, or None when it was none."""
    if event.dialect is not Dialect.CLOUDEVENTS or _KEPT not in event.extension:
        return None
    return msgspec.convert(event.extension[_KEPT], Kept)


def is_json(content_type: str | None) -> bool:
    """Return whether a content type says JSON, as none does too.

    Source: CloudEvents JSON event format, section 3.1.1.
    """
    if content_type is None:
        return True
    kind, _, subtype = media_type(content_type).partition("/")
    return bool(kind) and (subtype == "json" or subtype.endswith("+json"))


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def written(value: bool | int | str) -> str:
    """Return an attribute's value as text, as a header has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
