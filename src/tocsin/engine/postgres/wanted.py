"""A search of events made ready for PostgreSQL: patterns become the names there are, and each condition SQL."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.glob import is_glob
from tocsin.core.spelling import spellings
from tocsin.engine.postgres.listings import SPELLING
from tocsin.engine.postgres.reading import Reader
from tocsin.engine.rows import EventQuery
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


async def prepare(reader: Reader, query: EventQuery) -> Wanted:
    """Return the query made ready for one part; looks up which names there are for a pattern."""
    assert query.filter.where is None
    names = names_given(query)
    patterns: dict[Aspect, tuple[str, ...]] = {}
    for aspect, globs in globs_given(query).items():
        known = await _names_of(reader, aspect, query.organisation_id, globs)
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


async def _names_of(
    reader: Reader, aspect: Aspect, organisation_id: bytes, patterns: Sequence[str]
) -> tuple[str, ...] | None:
    """Return the names that the patterns mean; None where there are too many to look at."""
    found: dict[str, None] = {}
    for pattern in patterns:
        if not is_glob(pattern):
            found[pattern] = None
            continue
        names = await _names_between(reader, aspect, organisation_id, *beginnings(pattern))
        if len(names) > NAMES_MAX:
            return None
        found.update(dict.fromkeys(matching([pattern], names)))
    return tuple(found)


async def _names_between(
    reader: Reader, aspect: Aspect, organisation_id: bytes, low: str, high: str | None
) -> list[str]:
    """Return the distinct names from ``low`` up to, not including, ``high``, and one more than may be looked at.

    A loose index scan: one probe of each partition for each name.
    """
    end, ends = ("", ()) if high is None else (f" and {aspect} < ?", (high,))
    probe = (
        f"select {aspect} from event where bucket = any($part) and organisation_id = ? "
        f"and {aspect} {{}} ?{end} order by {aspect} limit 1"
    )
    text = (
        f"with recursive found (name) as (({probe.format('>=')}) union all "
        f"select ({probe.format('>').replace('> ?', '> found.name')}) from found where found.name is not null) "
        "select name from found where name is not null limit ?"
    )
    bindings = (organisation_id, low, *ends, organisation_id, *ends, NAMES_MAX + 1)
    return [row[0] for row in await reader.rows_of(text, bindings)]


# -- conditions --------------------------------------------------------------------------------------------


def among(column: str, names: Sequence[str]) -> Condition:
    """Return that a column holds one of these names."""
    if len(names) == 1:
        return Condition(f"{column} = ?", (names[0],))
    return Condition(f"{column} = any(?)", (list(names),)) if names else Condition("false")


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
    """Return that the text stands in the data, ASCII capitals and small letters being the same.

    The data is read byte by byte, each as one character of LATIN1: so are the texts that are looked for, and data
    that is no UTF-8 fails nobody's search. What holds a NUL, which no JSON does, can be no text here, and holds
    nothing.
    """
    needles = [each.encode().decode("latin-1") for each in spellings(text) if "\0" not in each]
    if not needles:
        return Condition("false")
    found = " or ".join(["strpos(folded, ?) > 0"] * len(needles))
    folded = (
        "select case when position('\\x00'::bytea in e.data) = 0 "
        "then lower(convert_from(e.data, 'LATIN1') collate \"C\") end as folded"
    )
    # The offset keeps the data from being folded once for each spelling.
    return Condition(f"exists (select 1 from ({folded} offset 0) as document where {found})", tuple(needles))


# The offsets keep the planner from going through a whole table instead of looking at one event after another.
_REPLAYED = f"exists (select 1 from {SPELLING.replayed.format(id='e.id')})"
_DESTINATION = (
    "(exists (select 1 from delivery_history where destination_id = ? and event_id = e.id"
    f"{SPELLING.of_part} offset 0) "
    f"or exists (select 1 from delivery where event_id = e.id and destination_id = ?{SPELLING.of_part} offset 0))"
)
