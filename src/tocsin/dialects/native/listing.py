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


CursorForm = Callable[[bytes], bool]
"""Whether these bytes are of the form of a list's cursors, as the engine gives them."""

_ID_BYTES = 16
_SEQUENCE_BYTES = 8


def by_id(cursor: bytes) -> bool:
    """The form where rows follow one another by their ids."""
    return len(cursor) == _ID_BYTES


def by_sequence(cursor: bytes) -> bool:
    """The form where rows follow one another by a number that rises, as attempts do."""
    return len(cursor) == _SEQUENCE_BYTES and cursor[0] < 0x80


def by_id_and_key(cursor: bytes) -> bool:
    """The form where rows follow one another by an id and then by a text, as the claims on one event do."""
    try:
        return len(cursor) > _ID_BYTES and cursor[_ID_BYTES:].decode() != ""
    except UnicodeDecodeError:
        return False


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


def read_listing(
    request: Request, terms: Mapping[str, Reader], limits: NativeLimits, *, cursor: CursorForm = by_id
) -> Listing:
    """Return the page that a query asks for.

    Args:
        cursor: the form of this list's cursors. One that is damaged, or another list's, would begin somewhere, and
            whoever pages by it would take what comes for the rest.

    Raises:
        InvalidRequest: as ``read_query``.
    """
    paging: dict[str, Reader] = {
        "limit": digits(1, limits.page_max),
        "cursor": _cursor_reader(limits.cursor_characters_max, cursor),
    }
    found = read_query(request, {**terms, **paging})
    return Listing(
        terms={name: value for name, value in found.items() if name in terms},
        limit=found.get("limit", limits.page_default),
        cursor=found.get("cursor"),
    )


def _cursor_reader(characters_max: int, is_of_form: CursorForm) -> Reader:
    def read(value: str) -> bytes:
        found = _decoded(value) if 0 < len(value) <= characters_max else None
        # Some bits of the last character mean nothing: only one spelling is what was shown.
        if found is None or not is_of_form(found) or cursor_shown(found) != value:
            raise wrong("is not one that a list gave")
        return found

    return read


def _decoded(value: str) -> bytes | None:
    try:
        return base64.b64decode(value.encode("ascii") + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return None


def cursor_shown(cursor: bytes | None) -> str | None:
    """Return the engine's cursor as text that fits into a URL."""
    return None if cursor is None else base64.urlsafe_b64encode(cursor).rstrip(b"=").decode()


def page_members(plural: str, page: Page[T], shown: Callable[[T], Any]) -> dict[str, Any]:
    """Return the members of a list; ``total_is_exact`` and ``partial`` only where there is a doubt to be told."""
    answer: dict[str, Any] = {
        plural: [shown(row) for row in page.rows],
        "total": page.total,
        "next_cursor": cursor_shown(page.next_cursor),
    }
    if not page.total_is_exact:
        answer["total_is_exact"] = False
    if page.partial:
        answer["partial"] = True
    return answer


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
