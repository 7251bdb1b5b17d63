"""Past events, oldest first, to stand before those that come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.cli.client.api import Api
from tocsin.cli.client.session import Session
from tocsin.cli.watching.paging import Paging, listed

HISTORY_MAX = 1000
"""More than this is what ``tocsin export`` is for."""


def past_events(
    session: Session, query: Mapping[str, str], *, since: str | None = None, count: int = HISTORY_MAX
) -> list[dict[str, Any]]:
    """Return the newest events that the filters of a stream name, as lists show them, oldest first.

    They are asked for over a connection of their own.

    Args:
        since: RFC 3339; None is the beginning.
        count: at most so many.

    Raises:
        Failure: as ``Api.get``.
    """
    wanted = {name: value for name, value in query.items() if name not in ("kinds", "data")}
    with Api(session.api.base_url, session.api.key) as api:
        past = Session(api, session.out, session.profile)
        rows = []
        page = listed(past, "/api/v1/events", "events", {**wanted, "since": since}, Paging(count))
        for row in page:
            rows.append(row)
            if len(rows) == count:
                break
    return rows[::-1]
