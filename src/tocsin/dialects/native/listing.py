"""Lists: what their query may say, and how a page is answered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.reading import Faults, Field, Reader, digits, moment, wrong
from tocsin.engine.rows import Page
from tocsin.web.http import Request, Response, json_response

T = TypeVar("T")

WINDOW: dict[str, Reader] = {"since": moment, "until": moment}
"""The time that a list is bounded to, both ends included."""


class Identified(Protocol):
    """What the catalog holds."""

    @property
    def id(self) -> bytes:
        """Rises with the time at which it was made."""
        ...


EntityT = TypeVar("EntityT", bound=Identified)


class Listing(msgspec.Struct, frozen=True):
    """A page that was asked for.

    Attributes:
        terms: what the list is narrowed by, those that were given.
        cursor: behind which row the page begins; None is the first page.
    """

    terms: dict[str, Any]
    limit: int
    cursor: bytes | None


def read_query(request: Request, terms: Mapping[str, Reader]) -> dict[str, Any]:
    """Return a query's parameters, those that were given, as their readers have them.

    Raises:
        InvalidRequest: ``fields`` lists every parameter that is unknown, given twice or unsound.
    """
    faults = Faults()
    given: dict[str, str] = {}
    for name, value in request.query_list:
        if name in given:
            faults.add(name, "is given twice")
        given[name] = value
    unknown = f"is not a parameter of this route; there are: {', '.join(terms)}" if terms else _NO_PARAMETERS
    found = faults.members(given, {name: Field(reader) for name, reader in terms.items()}, unknown=unknown)
    faults.check()
    return found


_NO_PARAMETERS = "is not a parameter of this route; there are none"


def read_listing(request: Request, terms: Mapping[str, Reader], limits: NativeLimits) -> Listing:
    """Return the page that a query asks for.

    Raises:
        InvalidRequest: as ``read_query``.
    """
    paging: dict[str, Reader] = {
        "limit": digits(1, limits.page_max),
        "cursor": _cursor_reader(limits.cursor_characters_max),
    }
    found = read_query(request, {**terms, **paging})
    return Listing(
        terms={name: value for name, value in found.items() if name in terms},
        limit=found.get("limit", limits.page_default),
        cursor=found.get("cursor"),
    )


def _cursor_reader(characters_max: int) -> Reader:
    def read(value: str) -> bytes:
        try:
            if not 0 < len(value) <= characters_max:
                raise wrong("is not one that a list gave")
            return base64.b64decode(value.encode("ascii") + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            raise wrong("is not one that a list gave") from None

    return read


def cursor_shown(cursor: bytes | None) -> str | None:
    """Return the engine's cursor as text that fits into a URL."""
    return None if cursor is None else base64.urlsafe_b64encode(cursor).rstrip(b"=").decode()


def page_members(plural: str, page: Page[T], shown: Callable[[T], Any]) -> dict[str, Any]:
    """Return the members that every list has; ``total_is_exact`` only where counting was given up."""
    answer: dict[str, Any] = {
        plural: [shown(row) for row in page.rows],
        "total": page.total,
        "next_cursor": cursor_shown(page.next_cursor),
    }
    return answer if page.total_is_exact else {**answer, "total_is_exact": False}


def page_response(plural: str, page: Page[T], shown: Callable[[T], Any]) -> Response:
    """Return the answer of a list."""
    return json_response(200, page_members(plural, page, shown))


def page_of(entities: Sequence[EntityT], listing: Listing) -> Page[EntityT]:
    """Return a page of what the catalog holds in memory, oldest first."""
    ordered = sorted(entities, key=lambda each: each.id)
    behind = [each for each in ordered if listing.cursor is None or each.id > listing.cursor]
    rows = behind[: listing.limit]
    return Page(
        rows=rows,
        next_cursor=rows[-1].id if len(behind) > len(rows) else None,
        total=len(ordered),
    )
