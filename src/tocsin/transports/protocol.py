"""What a transport does, and what it is handed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from tocsin.core.delivery import Lease, Outcome, Posted
from tocsin.core.destination import Destination
from tocsin.core.incident import Incident


class LiveSecret(msgspec.Struct, frozen=True):
    """A signing secret, unsealed.

    Attributes:
        secret: the whole ``whsec_...`` string.
        expires_ms: until when it signs; None without end.
    """

    secret: str
    expires_ms: int | None


class Target(msgspec.Struct, frozen=True):
    """A destination with its secrets unsealed; lives in memory only.

    Attributes:
        secret_address: header values, tokens: the part of the address that is sealed at rest.
    """

    destination: Destination
    secrets: tuple[LiveSecret, ...] = ()
    secret_address: dict[str, Any] = {}


class Shipment(msgspec.Struct, frozen=True):
    """One attempt to make, with what a person needs to be told beside the event itself.

    Attributes:
        incident: the incident that the event belongs to, as it stands now; None for anything else.
        posted: the message that last told this incident at this destination, where it is to be edited.
        note: a line of our own above the message, such as what quiet hours held back; may be empty.
    """

    lease: Lease
    target: Target
    incident: Incident | None = None
    posted: Posted | None = None
    note: str = ""


Done = Callable[[Shipment, Outcome], None]
"""Called exactly once for each shipment, on the event loop, never from within ``start``."""


class Transport(Protocol):
    """A way out. Public, so that others can be written."""

    def start(self, shipment: Shipment, done: Done) -> None:
        """Begin one attempt and return at once; ``done`` tells its outcome.

        Expected failures are outcomes, never exceptions. The attempt ends within the destination's ``timeout_s``.
        """
        ...

    async def open(self) -> None:
        """Make ready; called once, on the event loop, before the first ``start``."""
        ...

    async def close(self) -> None:
        """Abandon what is still under way, telling no outcome for it, and release everything."""
        ...
