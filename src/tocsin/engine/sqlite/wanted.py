"""What a search of events asks for, made ready: patterns become the names there are, and each condition SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import apsw
import msgspec

from tocsin.core.delivery import STATUS_OF_PHASE, DeliveryPhase, EventStatus
from tocsin.core.destination import glob, is_glob
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.identifiers import first_id_at
from tocsin.core.spelling import spellings
from tocsin.engine.rows import EventQuery
from tocsin.engine.sqlite.listings import PHASE_CODES, STATUSES
from tocsin.engine.sqlite.sql import first

NAMES_MAX = 256
"""Distinct names that are looked at for one pattern; where there are more, events are looked at instead."""

_LAST = "\U0010ffff"
_NO_END = b""
"""Behind every text: SQLite has any text before any bytes."""

_BEHIND_EVERY_ID = b"\xff" * 17
_LIVE = (DeliveryPhase.SENDING, DeliveryPhase.RETRYING, DeliveryPhase.NEW)
_FINAL = (DeliveryPhase.DELIVERED, DeliveryPhase.EXPIRED, DeliveryPhase.CANCELLED)


class Aspect(StrEnum):
    """What a condition is about."""

    ORGANISATION = "organisation"
    ENVIRONMENT = "environment"
    DIALECT = "dialect"
    SEVERITY = "severity"
    SOURCE = "source"
    TYPE = "type"
    SUBJECT = "subject"
    STATUS = "status"
    DESTINATION = "destination"
    UNREPLAYED = "unreplayed"
    TEXT = "text"


class Condition(msgspec.Struct, frozen=True):
    """What a row of ``event e`` must fulfil."""

    text: str
    bindings: tuple[Any, ...] = ()


class Span(msgspec.Struct, frozen=True):
    """Ids from ``low`` up to, not including, ``high``."""

    low: bytes
    high: bytes

    def behind(self, cursor: bytes, *, ascending: bool) -> Span:
        """Return what comes after the id ``cursor``; it may be any bytes, since clients send what they like."""
        if ascending:
            return Span(max(self.low, cursor + b"\0"), self.high)
        return Span(self.low, min(self.high, cursor))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A query made ready.

    Attributes:
        environments: never empty.
        names: of dialects, severities, sources, types and subjects, the ones that are wanted; an aspect that is
            missing is not restricted, one without names matches nothing.
        patterns: of sources, types and subjects, where there are too many names to know the wanted ones; any must
            match.
        conditions: all of them, the patterns' aside.
    """

    query: EventQuery
    span: Span
    environments: tuple[str, ...]
    names: dict[Aspect, tuple[str, ...]]
    patterns: dict[Aspect, tuple[str, ...]]
    conditions: dict[Aspect, Condition]

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing can match."""
        return any(not names for names in self.names.values())


def prepare(connection: apsw.Connection, query: EventQuery) -> Wanted:
    """Return the query made ready; looks up which names there are for a pattern."""
    assert query.filter.where is None
    names: dict[Aspect, tuple[str, ...]] = {}
    patterns: dict[Aspect, tuple[str, ...]] = {}
    words: tuple[tuple[Aspect, Dialect | Severity | None, Sequence[Dialect | Severity]], ...] = (
        (Aspect.DIALECT, query.dialect, query.filter.dialects),
        (Aspect.SEVERITY, query.severity, query.filter.severities),
    )
    for aspect, word, some in words:
        if word is not None or some:
            wanted = dict.fromkeys(some or (word,))
            names[aspect] = tuple(str(each) for each in wanted if word in (None, each))
    for aspect, name, globs in (
        (Aspect.SOURCE, query.source, query.filter.sources),
        (Aspect.TYPE, query.type, query.filter.types),
        (Aspect.SUBJECT, query.subject, query.filter.subjects),
    ):
        if name is not None:
            names[aspect] = (name,) if not globs or _fits(globs, name) else ()
        elif globs:
            known = _names_of(connection, aspect, query.organisation_id, globs)
            if known is None:
                patterns[aspect] = globs
            else:
                names[aspect] = known
    environments = tuple(Environment) if query.environment is None else (query.environment,)
    return Wanted(
        query=query,
        span=Span(
            b"" if query.since_ms is None else first_id_at(query.since_ms),
            _BEHIND_EVERY_ID if query.until_ms is None else first_id_at(query.until_ms + 1),
        ),
        environments=tuple(str(each) for each in environments),
        names=names,
        patterns=patterns,
        conditions=_conditions(query, names),
    )


def matching(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that any of the patterns matches."""
    return tuple(each for each in names if _fits(patterns, each))


def _fits(patterns: Sequence[str], name: str) -> bool:
    return any(glob(pattern)(name) for pattern in patterns)


def _names_of(
    connection: apsw.Connection, aspect: Aspect, organisation_id: bytes, patterns: Sequence[str]
) -> tuple[str, ...] | None:
    """Return the names that the patterns mean; None where there are too many to look at."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if not is_glob(pattern):
            found[pattern] = None
            continue
        low, high = _range(pattern)
        row = first(connection, f"{aspect}s_between", organisation_id, low, high, NAMES_MAX + 1)
        assert row is not None
        names: list[str] = json.loads(row[0])
        if len(names) > NAMES_MAX:
            return None
        found.update(dict.fromkeys(matching([pattern], names)))
    return tuple(found)


def _range(pattern: str) -> tuple[str, str | bytes]:
    """Return where the names begin that share the pattern's beginning, and what comes behind the last."""
    length = next(at for at, character in enumerate(pattern) if character in "*?[")
    prefix = pattern[:length]
    head = prefix.rstrip(_LAST)
    if not head:
        return prefix, _NO_END
    following = ord(head[-1]) + 1
    # Between these two lie the surrogates, which are no characters.
    return prefix, head[:-1] + chr(0xE000 if following == 0xD800 else following)


# -- conditions --------------------------------------------------------------------------------------------


def among(column: str, names: Sequence[str]) -> Condition:
    """Return that a column holds one of these names."""
    if len(names) == 1:
        return Condition(f"{column} = ?", (names[0],))
    return Condition(f"{column} in (select value from json_each(?))", (json.dumps(names),))


def _conditions(query: EventQuery, names: dict[Aspect, tuple[str, ...]]) -> dict[Aspect, Condition]:
    """Return the conditions; the cheap ones come first."""
    found = {Aspect.ORGANISATION: Condition("e.organisation_id = ?", (query.organisation_id,))}
    if query.environment is not None:
        found[Aspect.ENVIRONMENT] = Condition("e.environment = ?", (query.environment.value,))
    for aspect, some in names.items():
        found[aspect] = among(f"e.{aspect}", some)
    if query.unreplayed:
        found[Aspect.UNREPLAYED] = Condition(f"not {_REPLAYED}")
    if query.status is not None:
        found[Aspect.STATUS] = Condition(_STATUS_CONDITIONS[query.status])
    if query.destination_id is not None:
        found[Aspect.DESTINATION] = Condition(_DESTINATION, (query.destination_id, query.destination_id))
    if query.text is not None:
        found[Aspect.TEXT] = _text_condition(query.text)
    return found


def _text_condition(text: str) -> Condition:
    needles = spellings(text)
    if len(needles) == 1:
        return Condition("instr(lower(cast(e.data as text)), ?)", needles)
    found = " or ".join(["instr(folded, ?)"] * len(needles))
    # The limit keeps SQLite from folding the data once for each spelling.
    folded = "select lower(cast(e.data as text)) as folded limit 1"
    return Condition(f"exists (select 1 from ({folded}) where {found})", needles)


_REPLAYED = "exists (select 1 from replayed where event_id = e.id)"
_DESTINATION = (
    "(exists (select 1 from delivery_history indexed by delivery_history_by_sent_event "
    "where destination_id = ? and event_id = e.id) "
    "or exists (select 1 from delivery indexed by delivery_by_event where event_id = e.id and destination_id = ?))"
)


def _exists(table: str, phases: Sequence[DeliveryPhase], all_of_table: Sequence[DeliveryPhase]) -> list[str]:
    """Return that the event has a delivery in any of these phases, or nothing without any."""
    if not phases:
        return []
    codes = " or ".join(PHASE_CODES[phase] for phase in phases)
    only = "" if len(phases) == len(all_of_table) else f" and ({codes})"
    return [f"exists (select 1 from {table} indexed by {table}_by_event where event_id = e.id{only})"]


def _any_in(phases: Sequence[DeliveryPhase]) -> list[str]:
    return [
        *_exists("delivery", [each for each in _LIVE if each in phases], _LIVE),
        *_exists("delivery_history", [each for each in _FINAL if each in phases], _FINAL),
    ]


def _status_condition(status: EventStatus) -> str:
    """Return that an event has this status: a delivery that gives it, and none that gives one before it."""
    if status is EventStatus.REPLAYED:
        return _REPLAYED
    rank = STATUSES.index(status)
    before = [phase for phase, its in STATUS_OF_PHASE.items() if STATUSES.index(its) < rank]
    own = [phase for phase, its in STATUS_OF_PHASE.items() if its is status]
    parts = [f"not {each}" for each in (_REPLAYED, *_any_in(before))]
    if own:
        parts.append(f"({' or '.join(_any_in(own))})")
    return " and ".join(parts)


_STATUS_CONDITIONS = {status: _status_condition(status) for status in EventStatus}
