"""A search of events made ready for SQLite: patterns become the names there are, and each condition SQL."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw

from tocsin.core.glob import is_glob
from tocsin.core.spelling import spellings
from tocsin.engine.rows import EventQuery
from tocsin.engine.sqlite.listings import SPELLING
from tocsin.engine.sqlite.sql import first
from tocsin.engine.wanted import (
    NAMES_MAX,
    Aspect,
    Condition,
    Wanted,
    beginnings,
    environments_of,
    globs_given,
    matching,
    names_given,
    phase_condition,
    span_of,
    status_condition,
)

_NO_END = b""
"""Behind every text: SQLite has any text before any bytes."""


def prepare(connection: apsw.Connection, query: EventQuery) -> Wanted:
    """Return the query made ready; looks up which names there are for a pattern."""
    assert query.filter.where is None
    names = names_given(query)
    patterns: dict[Aspect, tuple[str, ...]] = {}
    for aspect, globs in globs_given(query).items():
        known = _names_of(connection, aspect, query.organisation_id, globs)
        if known is None:
            patterns[aspect] = globs
        else:
            names[aspect] = known
    return Wanted(
        query=query,
        span=span_of(query),
        environments=environments_of(query),
        names=names,
        patterns=patterns,
        conditions=_conditions(query, names),
    )


def _names_of(
    connection: apsw.Connection, aspect: Aspect, organisation_id: bytes, patterns: Sequence[str]
) -> tuple[str, ...] | None:
    """Return the names that the patterns mean; None where there are too many to look at."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if not is_glob(pattern):
            found[pattern] = None
            continue
        low, high = beginnings(pattern)
        end = _NO_END if high is None else high
        row = first(connection, f"{aspect}s_between", organisation_id, low, end, NAMES_MAX + 1)
        assert row is not None
        names: list[str] = json.loads(row[0])
        if len(names) > NAMES_MAX:
            return None
        found.update(dict.fromkeys(matching([pattern], names)))
    return tuple(found)


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
        found[Aspect.STATUS] = Condition(status_condition(query.status, SPELLING))
        phase = phase_condition(query.status, SPELLING)
        if phase is not None:
            found[Aspect.PHASE] = Condition(phase)
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


_REPLAYED = f"exists (select 1 from {SPELLING.replayed.format(id='e.id')})"
_DESTINATION = (
    "(exists (select 1 from delivery_history indexed by delivery_history_by_sent_event "
    "where destination_id = ? and event_id = e.id) "
    "or exists (select 1 from delivery indexed by delivery_by_event where event_id = e.id and destination_id = ?))"
)
