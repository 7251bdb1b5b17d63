"""What lists have in common."""

from __future__ import annotations

from tocsin.dialects.native.limits import NativeLimits
from tocsin.web.openapi import Answer, Parameter
from tocsin.web.openapi.schemas import Schema, always, either, identifier, listed, nullable, record, text, time, whole

DESTINATION_ID = text(
    "A destination, or PromptJang's writing of one.",
    pattern="^(dst|ep)_[0-9a-f]{32}$",
    example=identifier("dst")["examples"][0],
)
_MOMENT = either(time(), text(pattern="^[0-9]+$"))


NOT_ALWAYS = ("total_is_exact", "partial")
"""The members of a list that are there only where there is a doubt to be told."""


def paging(limits: NativeLimits) -> tuple[Parameter, ...]:
    """Return the parameters of a page."""
    return (
        Parameter(name="limit", schema=whole(least=1, most=limits.page_max, default=limits.page_default)),
        Parameter(
            name="cursor",
            schema=text(least=1, most=limits.cursor_characters_max),
            description="The `next_cursor` of the page before.",
        ),
    )


def window() -> tuple[Parameter, ...]:
    """Return the parameters that bound a list in time."""
    meaning = "{} it; RFC 3339, or milliseconds since 1970."
    return (
        Parameter(name="since", schema=_MOMENT, description=meaning.format("At or after")),
        Parameter(name="until", schema=_MOMENT, description=meaning.format("At or before")),
    )


def page_members(plural: str, row: Schema) -> dict[str, Schema]:
    """Return the members that every list has."""
    return {
        plural: listed(row),
        "total": whole(least=0, example=1),
        "next_cursor": nullable(text("Null on the last page.")),
        "total_is_exact": always(False, "There where counting was given up."),
        "partial": always(True, "There where the search stopped at its bound; `next_cursor` goes on."),
    }


def page(plural: str, row: Schema, description: str) -> Answer:
    """Return the answer of a list."""
    members = page_members(plural, row)
    return Answer(description=description, schema=record(members, optional=NOT_ALWAYS))
