"""From bodies to requests: pure, and every fault names its field."""

from __future__ import annotations

import math
import string
from typing import Any, NoReturn

import msgspec

from tocsin.core.clock import TIME_MAX_MS
from tocsin.core.errors import InvalidRequest, NotFound
from tocsin.core.event import INDEXED_BYTES_MAX, is_indexable
from tocsin.core.identifiers import EventId, parse_hex32
from tocsin.core.transaction import TX_KEY_BYTES_MAX, TransactionState
from tocsin.dialects import strict_json
from tocsin.dialects.buildable.limits import BuildableLimits

DOES_NOT_EXIST = "does-not-exist"
"""The state of an event that a consumer group has not started."""

_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "._:-")

_END_STATES = {"finished": TransactionState.FINISHED, "failed": TransactionState.FAILED}
_MOVE_STATES = {"processing": TransactionState.PROCESSING, **_END_STATES}
_QUERY_STATES: dict[str, TransactionState | None] = {
    DOES_NOT_EXIST: None,
    "pending": TransactionState.PENDING,
    **_MOVE_STATES,
}

Fields = dict[str, Any]
"""A body's members; those that no route knows are tolerated."""


class Emit(msgspec.Struct, frozen=True, kw_only=True):
    """What /emit asks for; ``payload`` is the object's bytes as they were sent."""

    event_name: str
    payload: bytes


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What /query asks for; ``since_ms`` None is from the first event on, ``state`` None is ``does-not-exist``."""

    full_name: str
    tx_key: str
    since_ms: int | None
    state: TransactionState | None
    page: int
    page_size: int


class Init(msgspec.Struct, frozen=True, kw_only=True):
    """What /init asks for."""

    event_id: EventId
    tx_key: str


class Transact(msgspec.Struct, frozen=True, kw_only=True):
    """What /transact asks for; ``state`` is finished or failed."""

    event_id: EventId
    tx_key: str
    state: TransactionState
    output: str | None


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What /update asks for; ``state`` is processing, finished or failed."""

    event_id: EventId
    event_name: str
    tx_key: str
    state: TransactionState


class _Payload(msgspec.Struct):
    payload: msgspec.Raw


_slice_payload = msgspec.json.Decoder(_Payload).decode


def parse_emit(body: bytes, limits: BuildableLimits) -> Emit:
    """Return what a body of /emit asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
    """
    fields = _object(body)
    event_name = _name(fields, "event", limits)
    if not is_indexable(event_name):
        _fault("event", f"must have at most {INDEXED_BYTES_MAX} bytes")
    payload = _required(fields, "payload")
    if not isinstance(payload, dict):
        _fault("payload", "must be an object")
    return Emit(event_name=event_name, payload=bytes(_slice_payload(body).payload))


def parse_query(body: bytes, limits: BuildableLimits) -> Query:
    """Return what a body of /query asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
    """
    fields = _object(body)
    full_name = _full_name(fields, limits)
    tx_key = _tx_key(fields, limits)
    since_ms = _since_ms(fields)
    state: TransactionState | None = None
    if fields.get("txState") is not None:
        state = _QUERY_STATES[_choice(fields, "txState", _QUERY_STATES)]
    return Query(
        full_name=full_name,
        tx_key=tx_key,
        since_ms=since_ms,
        state=state,
        page=_whole(fields, "page", 1, limits.page_max),
        page_size=_whole(fields, "pageSize", limits.page_size_default, limits.page_size_max),
    )


def parse_init(body: bytes, limits: BuildableLimits) -> Init:
    """Return what a body of /init asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
        NotFound: the key is none that an event could have.
    """
    fields = _object(body)
    key = _text(fields, "key")
    tx_key = _tx_key(fields, limits)
    return Init(event_id=_event_id(key), tx_key=tx_key)


def parse_transact(body: bytes, limits: BuildableLimits) -> Transact:
    """Return what a body of /transact asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
        NotFound: the key is none that an event could have.
    """
    fields = _object(body)
    key = _text(fields, "key")
    tx_key = _tx_key(fields, limits)
    output = fields.get("output")
    if output is not None and not isinstance(output, str):
        _fault("output", "must be a string")
    if output is not None and len(output.encode()) > limits.output_max_bytes:
        _fault("output", f"must have at most {limits.output_max_bytes} bytes")
    state = _END_STATES[_choice(fields, "state", _END_STATES)]
    return Transact(event_id=_event_id(key), tx_key=tx_key, state=state, output=output)


def parse_update(body: bytes, limits: BuildableLimits) -> Update:
    """Return what a body of /update asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
        NotFound: the key is none that an event could have.
    """
    fields = _object(body)
    key = _text(fields, "key")
    event_name = _text(fields, "eventName")
    tx_key = _tx_key(fields, limits)
    state = _MOVE_STATES[_choice(fields, "txState", _MOVE_STATES)]
    return Update(event_id=_event_id(key), event_name=event_name, tx_key=tx_key, state=state)


def parse_full_name(body: bytes, limits: BuildableLimits) -> str:
    """Return the full event name that a body of /get-full-event-name asks for.

    Raises:
        InvalidRequest: the body breaks a rule.
    """
    return _full_name(_object(body), limits)


def is_named(event_type: str, event_name: str) -> bool:
    """Return whether ``event_name`` is an event's full name, or what follows platform and label in it."""
    return event_type == event_name or event_type.endswith(f".{event_name}")


def _object(body: bytes) -> Fields:
    value = strict_json.decode(body)
    if not isinstance(value, dict):
        raise InvalidRequest("the body must be a JSON object")
    return value


def _required(fields: Fields, name: str) -> Any:
    value = fields.get(name)
    if value is None:
        _fault(name, "is required")
    return value


def _text(fields: Fields, name: str) -> str:
    value = _required(fields, name)
    if not isinstance(value, str):
        _fault(name, "must be a string")
    if not value:
        _fault(name, "must not be empty")
    return value


def _name(fields: Fields, name: str, limits: BuildableLimits) -> str:
    value = _text(fields, name)
    if len(value) > limits.name_max_characters or not _NAME_CHARACTERS.issuperset(value):
        _fault(name, f"must be 1-{limits.name_max_characters} letters, digits, dots, underscores, colons or dashes")
    return value


def _full_name(fields: Fields, limits: BuildableLimits) -> str:
    event_name = _name(fields, "eventName", limits)
    # A client that fills in a form sends "" for what it does not have.
    before = [_name(fields, part, limits) for part in ("platform", "label") if fields.get(part) not in (None, "")]
    return ".".join([*before, event_name])


def _tx_key(fields: Fields, limits: BuildableLimits) -> str:
    value = _text(fields, "txKey")
    if len(value) > limits.tx_key_max_characters:
        _fault("txKey", f"must have at most {limits.tx_key_max_characters} characters")
    if len(value.encode()) > TX_KEY_BYTES_MAX:
        _fault("txKey", f"must have at most {TX_KEY_BYTES_MAX} bytes in UTF-8")
    if any(character < " " or character == "\x7f" for character in value):
        _fault("txKey", "must not hold control characters")
    return value


def _since_ms(fields: Fields) -> int | None:
    value = _required(fields, "since")
    if isinstance(value, bool) or not isinstance(value, int | float):
        _fault("since", "must be a number of milliseconds")
    if value <= 0:
        return None
    # Nothing is accepted after the year 9999; a fraction of a millisecond lies after the start of that millisecond.
    return math.ceil(min(value, TIME_MAX_MS))


def _choice(fields: Fields, name: str, choices: dict[str, Any]) -> str:
    value = _text(fields, name)
    if value not in choices:
        _fault(name, f"must be one of {', '.join(choices)}")
    return value


def _whole(fields: Fields, name: str, default: int, highest: int) -> int:
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        _fault(name, "must be an integer")
    if not 1 <= value <= highest:
        _fault(name, f"must be 1-{highest}")
    return value


def _event_id(key: str) -> EventId:
    found = parse_hex32(key)
    if found is None:
        raise NotFound("there is no such event")
    return EventId(found)


def _fault(name: str, reason: str) -> NoReturn:
    raise InvalidRequest(f"{name} {reason}", fields=((name, reason),))
