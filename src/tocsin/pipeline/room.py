"""What all lanes share: how much is held and sent at once, and who waits for a free place."""

from __future__ import annotations

from tocsin.core.identifiers import DestinationId
from tocsin.pipeline.lane import Lane


class Room:
    """Counts what is held and sent over all destinations, and keeps places free for those that have none yet.

    No lane takes more places than stay free: one destination that hangs ends up with half of them at the most, n of
    them with n out of n + 1, and however many hang, the next one finds a place.

    Attributes:
        held: deliveries leased by this process, sent or waiting.
        sending: attempts under way.

    Source: A. Choudhury and E. Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998.
    """

    __slots__ = ("_held_max", "_sending_max", "_waiting", "_wanted", "held", "sending")

    def __init__(self, *, held_max: int, sending_max: int) -> None:
        self._held_max = held_max
        self._sending_max = sending_max
        self._waiting: dict[DestinationId, None] = {}
        self._wanted = False
        self.held = 0
        self.sending = 0

    def may_hold(self, lane: Lane) -> bool:
        """Return whether a lane may hold one more."""
        free = self._held_max - self.held
        self._wanted = self._wanted or free <= 0
        return lane.held < free

    def may_send(self, lane: Lane) -> bool:
        """Return whether a lane may have one more attempt under way."""
        return lane.sending < self._sending_max - self.sending

    def claimable(self, most: int) -> int:
        """Return how many a claim may take, ``most`` at the most; half of what is free stays free."""
        free = self._held_max - self.held
        self._wanted = self._wanted or free <= 0
        return min(most, max(1, free // 2)) if free > 0 else 0

    def eased(self) -> bool:
        """Return, once, that there is room again after somebody found none; not for each single place."""
        if self._wanted and self._held_max - self.held >= max(1, self._held_max // 16):
            self._wanted = False
            return True
        return False

    # -- who waits to send ------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many destinations wait for a place to send."""
        return len(self._waiting)

    def queue_up(self, destination_id: DestinationId) -> None:
        """Let a destination wait for a place; one that waits already keeps its turn."""
        self._waiting[destination_id] = None

    def next_waiting(self) -> DestinationId:
        """Return the destination that waited longest, which waits no more."""
        destination_id = next(iter(self._waiting))
        del self._waiting[destination_id]
        return destination_id
