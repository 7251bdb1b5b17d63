"""Sending nothing: what a gateway without a dispatcher stores is claimed by those of other processes."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.clock import Clock
from tocsin.core.delivery import Lease
from tocsin.core.destination import Destination
from tocsin.core.identifiers import DestinationId


class Unsent:
    """Implements ``ingest.Sender``: no place is ever free here, so that nothing is stored leased."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def reserve(self, destination: Destination) -> bool:  # noqa: ARG002  the protocol's argument
        """See ``Sender``."""
        return False

    def release(self, destination_id: DestinationId) -> None:  # noqa: ARG002
        """See ``Sender``."""
        raise AssertionError("nothing was reserved")

    def lease_until_ms(self) -> int:
        """See ``Sender``."""
        return self._clock.now_ms()

    def take(self, leases: Sequence[Lease]) -> None:
        """See ``Sender``."""
        assert not leases, "nothing was reserved"
