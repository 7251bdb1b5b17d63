"""Attempts that were begun and of which no outcome was told yet."""

from __future__ import annotations

from tocsin.core.delivery import Lease
from tocsin.core.identifiers import DeliveryId
from tocsin.transports.protocol import Shipment


class _Attempt:
    __slots__ = ("lease", "shipment", "until_s")

    def __init__(self, shipment: Shipment, until_s: float) -> None:
        self.shipment = shipment
        self.lease = shipment.lease
        self.until_s = until_s


class UnderWay:
    """Knows which attempts are under way, so that each ends once, whatever a transport or the clock does."""

    def __init__(self) -> None:
        self._attempts: dict[DeliveryId, _Attempt] = {}

    def begin(self, shipment: Shipment, *, until_s: float) -> None:
        """Note an attempt.

        Args:
            until_s: when it must have ended, on the monotonic clock.
        """
        self._attempts[shipment.lease.delivery_id] = _Attempt(shipment, until_s)

    def end(self, shipment: Shipment) -> Lease | None:
        """Return the lease that an attempt ends, or None where it had ended before."""
        attempt = self._attempts.get(shipment.lease.delivery_id)
        if attempt is None or attempt.shipment.lease is not shipment.lease:
            return None
        del self._attempts[shipment.lease.delivery_id]
        return attempt.lease

    def adopt(self, lease: Lease) -> bool:
        """Return whether a delivery that was just leased is under way already; then its attempt ends this lease.

        Leases go by the wall clock. When that is set forward, those of attempts under way are over at once, and the
        next claim brings their deliveries again; nothing is sent twice for that.
        """
        attempt = self._attempts.get(lease.delivery_id)
        if attempt is None:
            return False
        attempt.lease = lease
        return True

    def overdue(self, now_s: float) -> list[Shipment]:
        """Return the attempts that should have ended by now."""
        return [attempt.shipment for attempt in self._attempts.values() if attempt.until_s <= now_s]
