"""How many destinations an organisation may have, and how much work their filters may make of an event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from tocsin.core.destination import Destination, globs_of
from tocsin.core.errors import Conflict
from tocsin.core.identifiers import OrganisationId
from tocsin.engine.rows import CatalogOp, Save
from tocsin.pipeline.catalog import Catalog, unique_name


class Allowance:
    """Stores destinations as far as their organisation may have more.

    Each bound is exact, whichever processes store at the same time.

    Args:
        destinations_max: in one organisation.
        globs_max, glob_characters_max: in all filters of one organisation. Every event is held against each.
    """

    def __init__(self, catalog: Catalog, destinations_max: int, globs_max: int, glob_characters_max: int) -> None:
        self._catalog = catalog
        self._destinations_max = destinations_max
        self._globs_max = globs_max
        self._glob_characters_max = glob_characters_max
        self._storing: WeakValueDictionary[OrganisationId, asyncio.Lock] = WeakValueDictionary()

    async def save(self, destination: Destination, *beside: CatalogOp) -> None:
        """Store a destination, a new one or a changed one.

        Args:
            beside: what else is done in the same commit.

        A change that makes nothing larger is never refused, even where a bound was lowered since.

        Raises:
            Conflict: ``destination_limit_reached``; ``glob_limit_reached``, with ``fields``; ``name_taken``;
                ``changed_meanwhile``.
        """
        async with self._storing.setdefault(destination.organisation_id, asyncio.Lock()):
            await self._catalog.write_decided(
                Destination, destination.organisation_id, lambda: self._checked(destination, beside)
            )

    def _checked(self, destination: Destination, beside: Sequence[CatalogOp]) -> list[CatalogOp]:
        self._check(destination)
        return [Save(destination, unique_name(destination)), *beside]

    def _check(self, destination: Destination) -> None:
        all_of_them = self._catalog.destinations(destination.organisation_id)
        before = self._catalog.find_destination(destination.organisation_id, destination.id)
        if before is None and len(all_of_them) >= self._destinations_max:
            raise Conflict(
                f"an organisation has at most {self._destinations_max} destinations; remove one first",
                code="destination_limit_reached",
            )
        wanted = globs_of(destination.filter)
        had = [] if before is None else globs_of(before.filter)
        others = [globs_of(each.filter) for each in all_of_them if each.id != destination.id]
        for unit, most, size in (
            ("patterns with wildcards", self._globs_max, len),
            ("characters of patterns with wildcards", self._glob_characters_max, _characters),
        ):
            if size(wanted) > size(had) and size(wanted) + sum(map(size, others)) > most:
                reason = f"all filters of an organisation hold at most {most} {unit}"
                raise Conflict(f"filter: {reason}", code="glob_limit_reached", fields=(("filter", reason),))


def _characters(patterns: list[str]) -> int:
    return sum(map(len, patterns))
