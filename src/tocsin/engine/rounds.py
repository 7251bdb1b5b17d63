"""Sharing a claim out over destinations: one turn for each, then a second, until there is enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Turn = tuple[int, bytes]
"""Since when a delivery is due, and its id."""


def first_turns(destinations: int, *, limit: int, per_destination: int) -> int:
    """Return how many deliveries of each destination are enough, if all have so many."""
    return min(per_destination, -(-limit // destinations))


def in_rounds(due: Iterable[Sequence[Turn]], *, limit: int) -> list[bytes]:
    """Return the deliveries to claim: the first of each destination, then the second of each, the longest due first.

    Args:
        due: of each destination, in the order in which they are due.
    """
    rounds = [(turn, due_ms, delivery_id) for found in due for turn, (due_ms, delivery_id) in enumerate(found)]
    rounds.sort()
    return [delivery_id for _, _, delivery_id in rounds[:limit]]
