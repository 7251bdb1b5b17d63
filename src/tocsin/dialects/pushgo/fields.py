"""PushGo's fields one by one: first what type a request gave them, then whether the value is allowed.

The two are apart because the channel is authenticated between them: ``read_*`` judges types and finds
``invalid_json_data``, the others judge values and have codes of their own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from tocsin.core.clock import TIME_MAX_MS, TIME_MIN_MS
from tocsin.core.errors import InvalidRequest
from tocsin.core.event import Severity
from tocsin.core.identifiers import ChannelId, crockford, parse_crockford
from tocsin.core.text import trim

Body = dict[str, Any]
"""A request's JSON object, or its query, by the names of the fields."""

OP_ID_BYTES_MAX = 128
ENTITY_ID_BYTES_MAX = 64
TITLE_CHARACTERS_MAX = 256
STATUS_CHARACTERS_MAX = 24
MESSAGE_CHARACTERS_MAX = 512
LIST_ITEMS_MAX = 32
TAG_BYTES_MAX = 64
IMAGE_BYTES_MAX = 2048
METADATA_KEY_BYTES_MAX = 64
METADATA_VALUE_BYTES_MAX = 512
PASSWORD_BYTES_MIN = 8
PASSWORD_BYTES_MAX = 128
CHANNEL_NAME_CHARACTERS_MAX = 128

UNCODED = ""
"""The code of an error to which PushGo gives none; its envelope then says null."""

_SECONDS_BELOW = 10**12
"""A time closer to 1970 than this is in seconds."""
INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)
_INT64_DIGITS_MAX = 19
_ID_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:-")
_DIGITS = frozenset("0123456789")
_SEVERITIES = {each.value: each for each in Severity}
_SHOWN_NAME_CHARACTERS = 64

_CHANNELS_CACHED = 4096
_CACHED_CHARACTERS_MAX = 40
"""What is longer is no usual spelling of a channel id, and must not fill the memory."""

_parse_channel_id = lru_cache(maxsize=_CHANNELS_CACHED)(parse_crockford)
channel_id_shown = lru_cache(maxsize=_CHANNELS_CACHED)(crockford)
"""Returns a channel id in capitals. Cached, since an application writes to few channels very often."""

_encode_sorted = msgspec.json.Encoder(order="sorted").encode


# -- types -----------------------------------------------------------------------------------------------------


class DataFault(InvalidRequest):
    """The request is JSON, but not of the form asked for."""

    code = "invalid_json_data"

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid JSON data: {reason}")
        self.reason = reason


def check_names(body: Body, known: frozenset[str]) -> None:
    """Raise ``invalid_json_data`` for a field that the route does not have."""
    if not body.keys() <= known:
        unknown = min(body.keys() - known)[:_SHOWN_NAME_CHARACTERS]
        raise DataFault(f"unknown field `{unknown}`")


def read_text(body: Body, name: str) -> str | None:
    """Return a text as it was sent; None when it is absent or null."""
    value = body.get(name)
    if value is None or type(value) is str:
        return value
    raise DataFault(f"`{name}` must be a string")


def read_required_text(body: Body, name: str) -> str:
    """Return a text as it was sent; absent and null are faults."""
    value = body.get(name)
    if type(value) is str:
        return value
    raise DataFault(f"`{name}` must be a string" if name in body else f"missing field `{name}`")


def read_filled_text(body: Body, name: str) -> str | None:
    """Return a text trimmed; None when it is absent, null or blank."""
    value = read_text(body, name)
    return None if value is None else trim(value) or None


def read_texts(body: Body, name: str, *, null_is_absent: bool) -> list[str] | None:
    """Return a list of texts as it was sent; None when it is absent."""
    if name not in body:
        return None
    value = body[name]
    if value is None and null_is_absent:
        return None
    if type(value) is not list or not all(type(item) is str for item in value):
        raise DataFault(f"`{name}` must be a list of strings")
    return value


def read_time_ms(body: Body, name: str) -> int | None:
    """Return a time in milliseconds since 1970; None when it is absent, null or blank.

    An integer, or a string of ASCII digits with an optional sign; one closer to 1970 than 10^12 is in seconds.
    """
    value = body.get(name)
    if type(value) is str:
        value = _number_in(trim(value), name)
    if value is None:
        return None
    if type(value) is not int or not INT64_MIN <= value <= INT64_MAX:
        raise DataFault(f"`{name}` must be a time in whole seconds or milliseconds")
    return value * 1000 if -_SECONDS_BELOW < value < _SECONDS_BELOW else value


def _number_in(text: str, name: str) -> int | None:
    if not text:
        return None
    digits = text[1:] if text[0] in "+-" else text
    significant = digits.lstrip("0")
    # int() alone would also take underscores and the digits of other scripts, and fail on thousands of digits.
    if not digits or not _DIGITS.issuperset(digits) or len(significant) > _INT64_DIGITS_MAX:
        raise DataFault(f"`{name}` must be a time in whole seconds or milliseconds")
    number = int(significant or "0")
    return -number if text[0] == "-" else number


def read_attrs(body: Body) -> dict[str, Any] | None:
    """Return attrs, whatever they hold; None when they are absent."""
    if "attrs" not in body:
        return None
    value = body["attrs"]
    if type(value) is not dict:
        raise DataFault("`attrs` must be an object")
    return value


def read_metadata(body: Body) -> dict[str, Any]:
    """Return metadata with its keys trimmed and its values as they were sent; empty when absent or null."""
    value = body.get("metadata")
    if value is None:
        return {}
    if type(value) is not dict:
        raise DataFault("`metadata` must be an object")
    read: dict[str, Any] = {}
    for name, member in value.items():
        key = trim(name)
        if not key:
            raise DataFault("`metadata` contains an empty key")
        if key in read:
            raise DataFault("`metadata` contains a key twice")
        if not isinstance(member, str | int | float) or not _scalar_text(member):
            raise DataFault("`metadata` values must be strings, numbers or booleans, and not blank")
        read[key] = member
    return read


def _scalar_text(value: str | float) -> str:
    return trim(value) if isinstance(value, str) else str(value)


# -- values ----------------------------------------------------------------------------------------------------


def channel_id_in(text: str) -> ChannelId:
    """Return the channel that a text names; ``channel_id_required`` or ``invalid_channel_id`` otherwise."""
    require_channel_id(text)
    found = _parse_channel_id(text) if len(text) <= _CACHED_CHARACTERS_MAX else parse_crockford(text)
    if found is None:
        raise InvalidRequest("invalid channel id", code="invalid_channel_id")
    return ChannelId(found)


def require_channel_id(text: str) -> None:
    """Raise ``channel_id_required`` for a blank text."""
    if not trim(text):
        raise InvalidRequest("channel id must not be empty", code="channel_id_required")


def password_in(text: str) -> str:
    """Return a password trimmed; ``invalid_password_length`` outside of 8 to 128 bytes."""
    password = trim(text)
    if not PASSWORD_BYTES_MIN <= len(password.encode()) <= PASSWORD_BYTES_MAX:
        raise InvalidRequest(
            f"channel password length must be between {PASSWORD_BYTES_MIN} and {PASSWORD_BYTES_MAX}",
            code="invalid_password_length",
        )
    return password


def identifier_in(text: str, name: str, bytes_max: int) -> str:
    """Return a client's id trimmed: 1 to ``bytes_max`` of ``[A-Za-z0-9_:-]``, else ``invalid_<name>``."""
    trimmed = trim(text)
    if not trimmed:
        raise InvalidRequest(f"{name} must not be empty", code=f"invalid_{name}")
    if len(trimmed.encode()) > bytes_max:
        raise InvalidRequest(f"{name} is too long", code=f"invalid_{name}")
    if not _ID_CHARACTERS.issuperset(trimmed):
        raise InvalidRequest(f"{name} format is invalid", code=f"invalid_{name}")
    return trimmed


def short_text_in(text: str, name: str, characters_max: int) -> str:
    """Return a status or a message trimmed: 1 to ``characters_max`` characters, else ``invalid_<name>``."""
    trimmed = trim(text)
    if not trimmed:
        raise InvalidRequest(f"{name} must not be empty", code=f"invalid_{name}")
    if len(trimmed) > characters_max:
        raise InvalidRequest(f"{name} is too long", code=f"invalid_{name}")
    return trimmed


def severity_in(text: str) -> Severity:
    """Return an event's severity, read without regard to ASCII case; ``invalid_severity`` for any other text."""
    found = find_severity(text)
    if found is None:
        raise InvalidRequest("severity must be one of critical/high/normal/low", code="invalid_severity")
    return found


def find_severity(text: str) -> Severity | None:
    """Return the severity that a text names, or None."""
    # str.lower folds all of Unicode; the contract folds ASCII.
    trimmed = trim(text)
    return _SEVERITIES.get(trimmed.lower()) if trimmed.isascii() else None


def tags_in(tags: list[str]) -> list[str]:
    """Return tags trimmed, each once; ``invalid_tags`` otherwise."""
    return _distinct(tags, name="tags", item="tag", bytes_max=TAG_BYTES_MAX)


def images_in(images: list[str]) -> list[str]:
    """Return image addresses trimmed, each once; ``invalid_images`` otherwise."""
    return _distinct(images, name="images", item="url", bytes_max=IMAGE_BYTES_MAX)


def _distinct(items: list[str], *, name: str, item: str, bytes_max: int) -> list[str]:
    if len(items) > LIST_ITEMS_MAX:
        raise InvalidRequest(f"{name} exceeds max length", code=f"invalid_{name}")
    kept: dict[str, None] = {}
    for each in items:
        trimmed = trim(each)
        if not trimmed:
            raise InvalidRequest(f"{name} contains empty {item}", code=f"invalid_{name}")
        if len(trimmed.encode()) > bytes_max:
            raise InvalidRequest(f"{name} contains oversized {item}", code=f"invalid_{name}")
        kept[trimmed] = None
    return list(kept)


def check_attrs(attrs: dict[str, Any]) -> None:
    """Raise unless attrs are scalars and objects of scalars; of several faults the first key's is told."""
    for key in sorted(attrs):
        if not trim(key):
            raise InvalidRequest("attrs contains empty key", code="extension_object_key_required")
        value = attrs[key]
        if isinstance(value, list):
            raise InvalidRequest("attrs does not support arrays", code="extension_object_arrays_unsupported")
        if isinstance(value, dict) and any(isinstance(member, dict | list) for member in value.values()):
            raise InvalidRequest(
                "attrs only supports one-level objects", code="extension_object_nested_object_unsupported"
            )


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise for a key or a value that is too long; of several faults the first key's is told."""
    for key in sorted(metadata):
        if len(key.encode()) > METADATA_KEY_BYTES_MAX:
            raise InvalidRequest("metadata key is too long", code="metadata_key_too_long")
        if len(_scalar_text(metadata[key]).encode()) > METADATA_VALUE_BYTES_MAX:
            raise InvalidRequest("metadata value is too long", code="metadata_value_too_long")


def channel_name_in(text: str) -> str:
    """Return a channel's name trimmed: 1 to 128 characters without controls, else ``invalid_channel_name``."""
    name = trim(text)
    if not name:
        raise InvalidRequest("channel name must not be empty", code="invalid_channel_name")
    if len(name) > CHANNEL_NAME_CHARACTERS_MAX:
        raise InvalidRequest(
            f"channel name too long (max {CHANNEL_NAME_CHARACTERS_MAX})", code="invalid_channel_name"
        )
    # Unicode's category Cc, and nothing beyond it.
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in name):
        raise InvalidRequest("channel name contains invalid characters", code="invalid_channel_name")
    return name


def device_key_in(text: str) -> str:
    """Return a device's key trimmed; a blank one is an error without a code."""
    key = trim(text)
    if not key:
        raise InvalidRequest("device_key is required", code=UNCODED)
    return key


def stored_ms(at_ms: int) -> int:
    """Return the nearest time that can be written as a date.

    PushGo takes any 64-bit time, other dialects and the dashboard show years 1 to 9999. A pulled payload tells the
    time as it was sent.
    """
    return min(max(at_ms, TIME_MIN_MS), TIME_MAX_MS)


def canonical(value: Any) -> str:
    """Return ``value`` as compact JSON with sorted keys."""
    return _encode_sorted(value).decode()
