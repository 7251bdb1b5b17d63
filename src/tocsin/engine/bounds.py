"""How far a search goes, and how long a page is."""

from __future__ import annotations

import msgspec

from tocsin.engine.payloads import PAGE_BYTES_MAX


class ScanBounds(msgspec.Struct, frozen=True, kw_only=True):
    """How far one search of events goes, where no index leads to what it wants alone, and how long a page is.

    Attributes:
        events_max: looked at for one page.
        time_max_s: for one page.
        count_max_s: for counting all that match.
        thorough_count_max_s: for that where somebody waits for the figure, however many have to be looked at.
        query_max_s: for all of one search; what learns for the next one stops somewhat before.
        page_bytes_max: payload bytes of one page of any list.
    """

    events_max: int = 200_000
    time_max_s: float = 0.5
    count_max_s: float = 0.05
    thorough_count_max_s: float = 2.0
    query_max_s: float = 5.0
    page_bytes_max: int = PAGE_BYTES_MAX
