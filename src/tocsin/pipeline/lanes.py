"""The lanes of all destinations, as long as they are there."""

from __future__ import annotations

from collections.abc import Iterable

from tocsin.core.destination import Destination
from tocsin.core.identifiers import DestinationId
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.lane import Lane, LaneLimits
from tocsin.pipeline.vault import Vault
from tocsin.transports.protocol import Target


class Lanes:
    """Keeps a lane for each destination that something was sent to, and its secrets opened.

    Those of a destination that is removed go with it, or as soon as nothing of them is held any more.
    """

    def __init__(self, catalog: Catalog, vault: Vault, limits: LaneLimits) -> None:
        self._catalog = catalog
        self._vault = vault
        self._limits = limits
        self._lanes: dict[DestinationId, Lane] = {}
        self._targets: dict[DestinationId, Target] = {}
        catalog.tell_of_removed_destinations(self.drop_if_gone)

    def of(self, destination_id: DestinationId) -> Lane:
        """Return a destination's lane, a new one where there was none."""
        lane = self._lanes.get(destination_id)
        if lane is None:
            lane = self._lanes[destination_id] = Lane(self._limits)
        return lane

    def all(self) -> Iterable[tuple[DestinationId, Lane]]:
        """Return all lanes with whose they are."""
        return self._lanes.items()

    def breakers_open(self, now_s: float) -> int:
        """Return how many destinations are left alone now."""
        return sum(lane.is_open(now_s) for lane in self._lanes.values())

    def target(self, destination: Destination) -> Target:
        """Return a destination with its secrets opened; they are opened once for each state of it.

        Raises:
            SealBroken: as ``Vault.target``.
        """
        target = self._targets.get(destination.id)
        if target is None or target.destination is not destination:
            target = self._targets[destination.id] = self._vault.target(destination)
        return target

    def drop_if_gone(self, destination_id: DestinationId) -> None:
        """Drop what is kept of a destination that is not there any more, its lane only once it holds nothing."""
        if self._catalog.any_destination(destination_id) is not None:
            return
        self._targets.pop(destination_id, None)
        lane = self._lanes.get(destination_id)
        if lane is not None and not lane.held:
            del self._lanes[destination_id]
