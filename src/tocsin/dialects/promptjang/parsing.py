"""What PromptJang's requests say: pure functions from text and bytes to values."""

from __future__ import annotations

import string
from collections.abc import Mapping
from typing import Any

from tocsin.core.clock import parse_rfc3339
from tocsin.core.errors import InvalidRequest, MalformedBody
from tocsin.core.glob import glob_fault
from tocsin.core.identifiers import DestinationId, parse_prefixed
from tocsin.dialects import strict_json
from tocsin.dialects.promptjang.limits import PromptJangLimits

UNKNOWN_TYPE = "unknown"
"""The type of an event that names none."""

LABEL_CHARACTERS_MAX = 128
IDEMPOTENCY_KEY_CHARACTERS_MAX = 255
ENDPOINT = "ep"
"""The prefix of an endpoint's id."""

_LABEL = frozenset(string.ascii_letters + string.digits + "._-")
_SOURCE = "promptjang/endpoint/"


# -- endpoints as sources ----------------------------------------------------------------------------------


def endpoint_source(endpoint_id: bytes) -> str:
    """Return the source of the events sent to an endpoint."""
    return f"{_SOURCE}{ENDPOINT}_{endpoint_id.hex()}"


def endpoint_of_source(source: str) -> DestinationId | None:
    """Return the endpoint that a source names, or None."""
    if not source.startswith(_SOURCE):
        return None
    return parse_endpoint_id(source[len(_SOURCE) :])


def parse_endpoint_id(text: str) -> DestinationId | None:
    """Return the endpoint's id, written ``ep_`` and 32 hex digits, or None."""
    found = parse_prefixed(ENDPOINT, text)
    return None if found is None else DestinationId(found)


# -- an event ----------------------------------------------------------------------------------------------


def is_label(text: str) -> bool:
    """Return whether ``text`` is 1 to 128 ASCII letters, digits, dots, underscores and dashes."""
    return 0 < len(text) <= LABEL_CHARACTERS_MAX and _LABEL.issuperset(text)


def event_type(header: str | None, body: Any) -> str:
    """Return the type of an event: the header's, else the body's ``event_type``, else its ``event``, else unknown.

    A member of the body that is not a string is looked past, since many bodies have an object called ``event``; one
    that is a string is meant as the type, and judged.

    Raises:
        InvalidRequest: what is meant as the type is not one.
    """
    found = header
    if found is None and isinstance(body, dict):
        found = next((body[name] for name in ("event_type", "event") if isinstance(body.get(name), str)), None)
    if found is None:
        return UNKNOWN_TYPE
    if not is_label(found):
        raise InvalidRequest(
            "Invalid event type: must be 1-128 chars, alphanumeric/dash/dot/underscore", code="invalid_event_type"
        )
    return found


def correlation_id(header: str | None) -> str | None:
    """Return the correlation id; an empty header is as good as none.

    Raises:
        InvalidRequest: longer than 128 characters, or another one among them.
    """
    if not header:
        return None
    if not is_label(header):
        raise InvalidRequest(
            "Invalid correlation ID: must be at most 128 chars, alphanumeric/dash/dot/underscore",
            code="invalid_correlation_id",
        )
    return header


def idempotency_key(header: str | None) -> str | None:
    """Return the client's key, or None without one.

    Raises:
        InvalidRequest: empty, longer than 255 characters, or not printable ASCII.
    """
    if header is None:
        return None
    if not (0 < len(header) <= IDEMPOTENCY_KEY_CHARACTERS_MAX and header.isascii() and header.isprintable()):
        raise InvalidRequest(
            "Invalid idempotency key: must be 1-255 printable ASCII characters", code="invalid_idempotency_key"
        )
    return header


# -- bodies of the other routes ----------------------------------------------------------------------------


def json_value(body: bytes) -> Any:
    """Return the value of a JSON body.

    Raises:
        MalformedBody: it is not one JSON document.
    """
    try:
        return strict_json.decode(body)
    except MalformedBody as error:
        raise MalformedBody(f"Invalid JSON: {error.detail}") from None


def members(body: bytes, allowed: frozenset[str]) -> dict[str, Any]:
    """Return the members of a JSON object.

    A member that the route does not know is refused: it is most likely a misspelt one, and would be lost silently.

    Raises:
        MalformedBody: not a JSON object.
        InvalidRequest: a member is unknown.
    """
    value = json_value(body)
    if not isinstance(value, dict):
        raise MalformedBody("Request body must be a JSON object")
    unknown = sorted(value.keys() - allowed)
    if unknown:
        raise invalid(unknown[0][:LABEL_CHARACTERS_MAX], "is not a field of this request")
    return value


def invalid(name: str, reason: str) -> InvalidRequest:
    """Return the error of one field: its name, then what is wrong with it."""
    return InvalidRequest(f"{name} {reason}", fields=((name, reason),))


def text_of(value: Any, name: str, *, least: int, most: int) -> str:
    """Return a string of ``least`` to ``most`` characters without control characters.

    Raises:
        InvalidRequest: it is not one.
    """
    if not isinstance(value, str) or not least <= len(value) <= most or not _clean(value):
        raise invalid(name, f"must be a string of {least} to {most} characters without control characters")
    return value


def _clean(text: str) -> bool:
    return not any(character < " " or character == "\x7f" for character in text)


def flag_of(value: Any, name: str) -> bool:
    """Return a boolean.

    Raises:
        InvalidRequest: it is not one.
    """
    if not isinstance(value, bool):
        raise invalid(name, "must be true or false")
    return value


def time_of(value: Any, name: str) -> int:
    """Return the milliseconds of an RFC 3339 date-time.

    Raises:
        InvalidRequest: it is not one.
    """
    at_ms = parse_rfc3339(value) if isinstance(value, str) else None
    if at_ms is None:
        raise invalid(name, "must be a date-time as RFC 3339 has it")
    return at_ms


def pattern_of(text: str, name: str, limits: PromptJangLimits) -> str:
    """Return a pattern as a destination's filter has them: ``*``, ``?`` and ``[...]``, case-sensitive.

    Raises:
        InvalidRequest: it is empty, too long, or a bracket is not closed.
    """
    if not 0 < len(text) <= limits.pattern_characters_max:
        raise invalid(name, f"must have 1 to {limits.pattern_characters_max} characters")
    fault = glob_fault(text)
    if fault is not None:
        raise invalid(name, fault)
    return text


def number_of(query: Mapping[str, str], name: str, *, default: int, least: int, most: int) -> int:
    """Return an integer parameter, in ASCII digits alone.

    Raises:
        InvalidRequest: not an integer, or out of bounds.
    """
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > len(str(most)) or not least <= int(text) <= most:
        raise invalid(name, f"must be an integer from {least} to {most}")
    return int(text)
