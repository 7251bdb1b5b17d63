"""Turns of the event loop, shared so that no organisation's events keep everybody else waiting."""

from __future__ import annotations

import asyncio

from tocsin.core.identifiers import OrganisationId


class _Queue:
    """Events of one organisation that wait, one behind the other."""

    __slots__ = ("length", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


class Turns:
    """Counts what the events of each organisation take in one turn of the event loop.

    A request may bring hundreds of events at once, and each may take as many steps as an event may. What is over the
    bound goes on in the next turn, one event after another in the order in which they came. Other organisations do
    not wait for them.

    Args:
        steps_max: after so many the organisation's next event waits; a step takes about a microsecond.
    """

    def __init__(self, steps_max: int) -> None:
        self._steps_max = steps_max
        self._spent: dict[OrganisationId, int] = {}
        self._ended = asyncio.Event()
        self._waiting: dict[OrganisationId, _Queue] = {}

    def spend(self, organisation_id: OrganisationId, steps: int) -> None:
        """Count steps that were taken in this turn."""
        if not self._spent:
            # What is called soon is called in the next turn, with a look at the sockets in between.
            asyncio.get_running_loop().call_soon(self._end)
        self._spent[organisation_id] = self._spent.get(organisation_id, 0) + steps

    def are_taken(self, organisation_id: OrganisationId) -> bool:
        """Return whether the organisation's next event has to wait."""
        return organisation_id in self._waiting or self._is_over(organisation_id)

    async def wait(self, organisation_id: OrganisationId) -> None:
        """Return in a turn in which the organisation may go on, where ``spend`` comes before anything is awaited."""
        queue = self._waiting.setdefault(organisation_id, _Queue())
        queue.length += 1
        try:
            async with queue.lock:
                while self._is_over(organisation_id):
                    await self._ended.wait()
        finally:
            queue.length -= 1
            if not queue.length:
                del self._waiting[organisation_id]

    def _end(self) -> None:
        self._spent.clear()
        if self._waiting:
            self._ended.set()
            self._ended = asyncio.Event()

    def _is_over(self, organisation_id: OrganisationId) -> bool:
        return self._spent.get(organisation_id, 0) > self._steps_max
