"""Filters of events, by the words of the list of events: a bulk replay and the live stream mean the same by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from tocsin.core.environment import Environment
from tocsin.core.errors import InvalidRequest
from tocsin.core.identifiers import OrganisationId
from tocsin.engine.rows import EventQuery

_NOT_OF_ONE_EVENT = frozenset({"status", "since", "until"})
"""What becomes of an event is not known when it comes, and a stream has positions instead of times."""


class EventFilter(msgspec.Struct, frozen=True):
    """How the list of events reads what it is narrowed by.

    Attributes:
        names: the words there are.
        read: returns the query, or None where nothing can match; raises ``InvalidRequest`` with ``fields``.
    """

    names: tuple[str, ...]
    read: Callable[[Mapping[str, str], OrganisationId, Environment], EventQuery | None]

    @property
    def names_of_one(self) -> tuple[str, ...]:
        """The words that can be judged on an event by itself, as it comes."""
        return tuple(name for name in self.names if name not in _NOT_OF_ONE_EVENT)

    def read_of_one(
        self, given: Mapping[str, str], organisation_id: OrganisationId, environment: Environment
    ) -> EventQuery:
        """Return what these words, some of ``names_of_one``, ask of one event.

        Raises:
            InvalidRequest: one is faulty, or no event can match: a list is empty then, and says so at once, while a
                stream would be silent for ever.
        """
        query = self.read(given, organisation_id, environment)
        if query is None:
            alone = [name for name in given if self.read({name: given[name]}, organisation_id, environment) is None]
            reason = "matches no event that there can be"
            names = alone or list(given)
            raise InvalidRequest(f"{' with '.join(names)} {reason}", fields=tuple((name, reason) for name in names))
        return query
