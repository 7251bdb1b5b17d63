"""What has to be read of the history for those who listen."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from tocsin.core.identifiers import OrganisationId
from tocsin.core.stream import StreamFilter


class Need(msgspec.Struct, frozen=True):
    """What has to be read.

    Attributes:
        organisations: whose events.
    """

    organisations: frozenset[OrganisationId] = frozenset()
    with_data: bool = False
    with_destinations: bool = False

    def covers(self, other: Need) -> bool:
        """Return whether what was read for this need serves the other."""
        return (
            other.organisations <= self.organisations
            and (self.with_data or not other.with_data)
            and (self.with_destinations or not other.with_destinations)
        )


def need_of(wanted: Collection[StreamFilter]) -> Need:
    """Return what serves all of these."""
    return Need(
        frozenset(each.organisation_id for each in wanted),
        any(each.reads_data for each in wanted),
        any(each.destination_id is not None for each in wanted),
    )
