"""The bound on a page's payloads: as many rows as fit, at least one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, cast

import msgspec

from tocsin.core.event import Event

R = TypeVar("R")

PAGE_BYTES_MAX = 16_777_216
"""Payload bytes of one page, unless the engine is told otherwise."""


class OfAnEvent(Protocol):
    """A row that shows an event."""

    @property
    def event(self) -> Event:
        """The event, read without its data."""
        ...


EventR = TypeVar("EventR", bound=OfAnEvent)


def fitting(rows: Iterable[R], size_bytes: Callable[[R], int], bytes_max: int) -> tuple[list[R], bool]:
    """Return the rows up to the one that would pass ``bytes_max``, at least one, and whether there was such a row."""
    found: list[R] = []
    left_bytes = bytes_max
    for row in rows:
        left_bytes -= size_bytes(row)
        if left_bytes < 0 and found:
            return found, True
        found.append(row)
    return found, False


def shown_with(row: EventR, data: bytes) -> EventR:
    """Return the row with its event's data."""
    shown: Any = row
    shown = msgspec.structs.replace(shown, event=msgspec.structs.replace(row.event, data=data))
    return cast("EventR", shown)
