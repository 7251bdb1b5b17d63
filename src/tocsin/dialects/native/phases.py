"""The words for where a delivery stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tocsin.core.delivery import Delivery, DeliveryPhase, phase_of
from tocsin.dialects.native.reading import Reader, wrong

WORDS: dict[DeliveryPhase, str] = {
    DeliveryPhase.NEW: "queued",
    DeliveryPhase.RETRYING: "retrying",
    DeliveryPhase.SENDING: "sending",
    DeliveryPhase.DELIVERED: "delivered",
    DeliveryPhase.EXPIRED: "failed",
    DeliveryPhase.CANCELLED: "cancelled",
}
"""What is shown of each phase."""

FINAL = (DeliveryPhase.DELIVERED, DeliveryPhase.EXPIRED, DeliveryPhase.CANCELLED)


def word_of(delivery: Delivery) -> str:
    """Return the word for where a delivery stands."""
    return WORDS[phase_of(delivery.state, delivery.attempts_made)]


def phases(allowed: Iterable[DeliveryPhase]) -> Reader:
    """Return a reader of some of these phases: a list of words, or a text with commas between them.

    Case does not count, and the phases' own names are understood too: other dialects call a failed one EXPIRED.
    """
    known = {name: phase for phase in allowed for name in (WORDS[phase], phase.value)}
    reason = f"must be among {', '.join(WORDS[phase] for phase in allowed)}"

    def read(value: Any) -> frozenset[DeliveryPhase]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, list) or not words or not all(isinstance(each, str) for each in words):
            raise wrong(reason)
        found = [known.get(each.strip().lower()) for each in words]
        if None in found:
            raise wrong(reason)
        return frozenset(phase for phase in found if phase is not None)

    return read
