"""Lists that come in pages: the options for them, and their rows one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import click

from tocsin.cli.client.session import Session

F = TypeVar("F", bound=Callable[..., Any])

PAGE_ROWS = 100
"""As many as the gateway gives at once."""


class Paging(NamedTuple):
    """How much of a list is wanted.

    Attributes:
        limit: rows at most; None is all.
        cursor: where to begin; None is the beginning.
    """

    limit: int | None = None
    cursor: str | None = None


def paging_options(function: F) -> F:
    """Add ``--limit``, ``--cursor`` and ``--all``; ``paging`` makes a ``Paging`` of them."""
    limit = click.option(
        "--limit", type=click.IntRange(1), metavar="N", default=50, show_default=True, help="Rows at most."
    )
    cursor = click.option("--cursor", metavar="TEXT", help="Go on where a list before said it ended.")
    everything = click.option("--all", "everything", is_flag=True, help="Every row, however many.")
    return limit(cursor(everything(function)))


def paging(limit: int, cursor: str | None, *, everything: bool) -> Paging:
    """Return what the options say."""
    return Paging(None if everything else limit, cursor)


def listed(
    session: Session, path: str, member: str, query: Mapping[str, Any] | None = None, wanted: Paging | None = None
) -> Iterator[dict[str, Any]]:
    """Yield a list's rows, asking for a page when the one before is used up; at the end, tell how to go on.

    Args:
        member: of the answer, that holds the rows.
        wanted: None is all.

    Raises:
        Failure: as ``Api.get``.
    """
    left, cursor = wanted or Paging()
    while left is None or left > 0:
        size = PAGE_ROWS if left is None else min(left, PAGE_ROWS)
        page = session.api.get(path, {**(query or {}), "limit": size, "cursor": cursor})
        rows = page[member]
        yield from rows
        cursor = page.get("next_cursor")
        if cursor is None:
            # A page may be empty and not the last: a search that reached its bound says where to go on.
            return
        left = None if left is None else left - len(rows)
    session.out.note(f"there is more: --cursor {cursor}, or --all")
