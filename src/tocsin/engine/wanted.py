"""What a search of events asks for, made ready for any engine: names and patterns apart, times as a span of ids."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.delivery import STATUS_OF_PHASE, DeliveryPhase, EventStatus
from tocsin.core.event import Dialect, Environment, Severity
from tocsin.core.glob import glob
from tocsin.core.identifiers import first_id_at
from tocsin.engine.listing import PHASE_CODES, STATUSES, Spelling
from tocsin.engine.rows import EventQuery

NAMES_MAX = 256
"""Distinct names that are looked at for one pattern; where there are more, events are looked at instead."""

_LAST = "\U0010ffff"
_BEHIND_EVERY_ID = b"\xff" * 17


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
    PHASE = "phase"
    """That there is a delivery which gives the status."""
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


def span_of(query: EventQuery) -> Span:
    """Return the ids within the query's times."""
    return Span(
        b"" if query.since_ms is None else first_id_at(query.since_ms),
        _BEHIND_EVERY_ID if query.until_ms is None else first_id_at(query.until_ms + 1),
    )


def environments_of(query: EventQuery) -> tuple[str, ...]:
    """Return the environments that are wanted, all of them where the query names none."""
    environments = tuple(Environment) if query.environment is None else (query.environment,)
    return tuple(str(each) for each in environments)


def names_given(query: EventQuery) -> dict[Aspect, tuple[str, ...]]:
    """Return the names that a query gives as they are, of each aspect that it restricts by any."""
    names: dict[Aspect, tuple[str, ...]] = {}
    words: tuple[tuple[Aspect, Dialect | Severity | None, Sequence[Dialect | Severity]], ...] = (
        (Aspect.DIALECT, query.dialect, query.filter.dialects),
        (Aspect.SEVERITY, query.severity, query.filter.severities),
    )
    for aspect, word, some in words:
        if word is not None or some:
            wanted = dict.fromkeys(some or (word,))
            names[aspect] = tuple(str(each) for each in wanted if word in (None, each))
    for aspect, name, globs in _attributes(query):
        if name is not None:
            names[aspect] = (name,) if not globs or _fits(globs, name) else ()
    return names


def globs_given(query: EventQuery) -> dict[Aspect, tuple[str, ...]]:
    """Return the patterns whose names are still to be found, of each aspect that it restricts by patterns alone."""
    return {aspect: globs for aspect, name, globs in _attributes(query) if name is None and globs}


def _attributes(query: EventQuery) -> tuple[tuple[Aspect, str | None, tuple[str, ...]], ...]:
    return (
        (Aspect.SOURCE, query.source, query.filter.sources),
        (Aspect.TYPE, query.type, query.filter.types),
        (Aspect.SUBJECT, query.subject, query.filter.subjects),
    )


def matching(patterns: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that any of the patterns matches."""
    return tuple(each for each in names if _fits(patterns, each))


def _fits(patterns: Sequence[str], name: str) -> bool:
    return any(glob(pattern)(name) for pattern in patterns)


def beginnings(pattern: str) -> tuple[str, str | None]:
    """Return where the names begin that share the pattern's beginning, and what comes behind the last."""
    length = next(at for at, character in enumerate(pattern) if character in "*?[")
    prefix = pattern[:length]
    head = prefix.rstrip(_LAST)
    if not head:
        return prefix, None
    following = ord(head[-1]) + 1
    # Between these two lie the surrogates, which are no characters.
    return prefix, head[:-1] + chr(0xE000 if following == 0xD800 else following)


# -- what a status means -----------------------------------------------------------------------------------

_LIVE = (DeliveryPhase.SENDING, DeliveryPhase.RETRYING, DeliveryPhase.NEW)
_FINAL = (DeliveryPhase.DELIVERED, DeliveryPhase.EXPIRED, DeliveryPhase.CANCELLED)


def status_condition(status: EventStatus, spelling: Spelling) -> str:
    """Return that nothing gives ``event e`` a status before this one."""
    replayed = f"exists (select 1 from {spelling.replayed.format(id='e.id')})"
    if status is EventStatus.REPLAYED:
        return replayed
    rank = STATUSES.index(status)
    before = [phase for phase, its in STATUS_OF_PHASE.items() if STATUSES.index(its) < rank]
    return " and ".join(f"not {each}" for each in (replayed, *_any_in(before, spelling)))


def phase_condition(status: EventStatus, spelling: Spelling) -> str | None:
    """Return that ``event e`` has a delivery which gives it this status; None where no delivery does."""
    its_own = _any_in([phase for phase, its in STATUS_OF_PHASE.items() if its is status], spelling)
    return f"({' or '.join(its_own)})" if its_own else None


def _any_in(phases: Sequence[DeliveryPhase], spelling: Spelling) -> list[str]:
    found = []
    for table, all_of_table in (("delivery", _LIVE), ("delivery_history", _FINAL)):
        some = [each for each in all_of_table if each in phases]
        if some:
            codes = " or ".join(PHASE_CODES[phase] for phase in some)
            only = "" if len(some) == len(all_of_table) else f" and ({codes})"
            found.append(f"exists (select 1 from {spelling.deliveries.format(table=table, only=only)})")
    return found
