"""The catalog in memory: what every request reads, kept in step with the engine."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from tocsin.core.changes import Change, created, removed, updated
from tocsin.core.destination import Destination
from tocsin.core.errors import Conflict, NotFound, Unavailable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import ChannelId, DestinationId, KeyId, OrganisationId
from tocsin.core.organisation import KEY_MARK_ID, ApiKey, Category, Channel, KeyMark, Organisation, ServiceKey
from tocsin.core.quiet_hours import QuietHours
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import CatalogOp, CatalogResult, Entity, Hint, Hurry, Note, Remove, Save, Unchanged
from tocsin.pipeline.audit import acting, record_of
from tocsin.pipeline.router import RoutingTable

EntityT = TypeVar("EntityT", bound=Entity)

_KIND_NAMES: dict[type[Entity], str] = {
    Organisation: "organisation",
    ApiKey: "key",
    ServiceKey: "service_key",
    Channel: "channel",
    Category: "category",
    Destination: "destination",
}

_DECISIONS_MAX = 32
"""How often what another process has overtaken is decided anew; each time one of the others has got on."""

_GATHER_S = 0.05
"""Between two looks at what changed, so that many changes are fetched together."""


class CatalogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the catalog.

    Attributes:
        refresh_every_s: how often changes of other processes are fetched when nothing hints at any; a revoked key
            stops working everywhere within twice this.
    """

    refresh_every_s: float = 0.5


def unique_name(entity: Entity) -> str | None:
    """Return the name that no other entity of its kind may have in the organisation, or None."""
    if isinstance(entity, Category):
        return entity.name
    if isinstance(entity, Destination) and entity.origin in (Dialect.NATIVEFRAME, Dialect.PINGPILOT):
        return f"{entity.origin}/{entity.name}"
    return None


def _raise_of(results: Iterable[CatalogResult]) -> None:
    """Return if all was done.

    Raises:
        Conflict, NotFound: what was refused.
    """
    for result in results:
        if result is CatalogResult.NAME_TAKEN:
            raise Conflict("the name is taken", code="name_taken")
        if result is CatalogResult.CHANGED_MEANWHILE:
            raise Conflict("it was changed meanwhile; read it again", code="changed_meanwhile")
        if result is CatalogResult.NOT_FOUND:
            raise NotFound("there is no such thing in this organisation")


class Catalog:
    """Organisations, keys, channels, categories, destinations and service keys, by every path they are found by.

    Readers never wait. Entities are immutable; a change replaces one.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._revision = 0
        self._refreshing = asyncio.Lock()
        self._all: dict[tuple[type[Entity], bytes], Entity] = {}
        self._keys: dict[bytes, ApiKey] = {}
        self._categories: dict[tuple[OrganisationId, str], Category] = {}
        self._webhooks: dict[tuple[OrganisationId, str], Destination] = {}
        self._destinations: dict[OrganisationId, dict[DestinationId, Destination]] = {}
        self._tables: dict[OrganisationId, RoutingTable] = {}
        self._idle: set[DestinationId] = set()
        self._former_quiet_hours: dict[tuple[DestinationId, QuietHours | None], Destination] = {}
        self._on_destination_removed: list[Callable[[DestinationId], None]] = []

    # -- finding ----------------------------------------------------------------------------------------

    def organisation(self, organisation_id: OrganisationId) -> Organisation:
        """Return an organisation that is known to exist, since a key of it was just found."""
        found = self._all.get((Organisation, organisation_id))
        if not isinstance(found, Organisation):
            raise NotFound("there is no such organisation")
        return found

    def organisations(self) -> list[Organisation]:
        """Return all organisations, oldest first."""
        return sorted(self._of(Organisation), key=lambda each: each.created_ms)

    def find_key(self, digest: bytes) -> ApiKey | None:
        """Return the API key with this SHA-256, or None."""
        return self._keys.get(digest)

    def keys(self, organisation_id: OrganisationId) -> list[ApiKey]:
        """Return the organisation's API keys, oldest first."""
        mine = (key for key in self._of(ApiKey) if key.organisation_id == organisation_id)
        return sorted(mine, key=lambda each: each.id)

    def find_channel(self, organisation_id: OrganisationId, channel_id: ChannelId) -> Channel | None:
        """Return the organisation's channel, or None."""
        found = self._all.get((Channel, channel_id))
        return found if isinstance(found, Channel) and found.organisation_id == organisation_id else None

    def channels(self, organisation_id: OrganisationId) -> list[Channel]:
        """Return the organisation's channels, oldest first."""
        mine = (channel for channel in self._of(Channel) if channel.organisation_id == organisation_id)
        return sorted(mine, key=lambda each: each.id)

    def find_category(self, organisation_id: OrganisationId, name: str) -> Category | None:
        """Return the organisation's category of exactly this name, or None."""
        return self._categories.get((organisation_id, name))

    def categories(self, organisation_id: OrganisationId) -> list[Category]:
        """Return the organisation's categories, oldest first."""
        mine = (category for key, category in self._categories.items() if key[0] == organisation_id)
        return sorted(mine, key=lambda each: each.id)

    def find_destination(self, organisation_id: OrganisationId, destination_id: DestinationId) -> Destination | None:
        """Return the organisation's destination, whichever routes it was made by, or None."""
        return self._destinations.get(organisation_id, {}).get(destination_id)

    def find_named_destination(
        self, organisation_id: OrganisationId, origin: Dialect, name: str
    ) -> Destination | None:
        """Return the destination of this name: a Native Frame webhook, or a way out of PingPilot's account."""
        return self._webhooks.get((organisation_id, f"{origin}/{name}"))

    def destinations(self, organisation_id: OrganisationId, origin: Dialect | None = None) -> list[Destination]:
        """Return the organisation's destinations, oldest first; of one origin, if given."""
        mine = self._destinations.get(organisation_id, {}).values()
        return sorted((each for each in mine if origin in (None, each.origin)), key=lambda each: each.id)

    def any_destination(self, destination_id: DestinationId) -> Destination | None:
        """Return a destination of any organisation: for the dispatcher, whose leases are not a tenant's request."""
        found = self._all.get((Destination, destination_id))
        return found if isinstance(found, Destination) else None

    @property
    def idle_destinations(self) -> frozenset[DestinationId]:
        """The destinations of all organisations to which nothing is sent now: paused, or not enabled."""
        return frozenset(self._idle)

    def take_former_quiet_hours(self) -> list[Destination]:
        """Return destinations as they were before their quiet hours changed, each once."""
        former = list(self._former_quiet_hours.values())
        self._former_quiet_hours.clear()
        return former

    def all_destinations(self) -> Iterable[Destination]:
        """Return the destinations of all organisations, in no order."""
        return self._of(Destination)

    def sizes(self) -> dict[str, int]:
        """Return how many of each kind there are, of all organisations."""
        kinds = Counter(kind for kind, _ in self._all)
        return {name: kinds[kind] for kind, name in _KIND_NAMES.items()}

    def service_keys(self, organisation_id: OrganisationId | None = None) -> list[ServiceKey]:
        """Return the service keys of an organisation, or of all, oldest first."""
        found = self._of(ServiceKey)
        return sorted(
            (key for key in found if organisation_id in (None, key.organisation_id)), key=lambda each: each.id
        )

    def find_service_key(self, key_id: KeyId) -> ServiceKey | None:
        """Return the service key with this id, of any organisation, or None."""
        found = self._all.get((ServiceKey, key_id))
        return found if isinstance(found, ServiceKey) else None

    def find_key_mark(self) -> KeyMark | None:
        """Return which key the installation seals its secrets with, or None where that was never noted."""
        found = self._all.get((KeyMark, KEY_MARK_ID))
        return found if isinstance(found, KeyMark) else None

    def routing(self, organisation_id: OrganisationId) -> RoutingTable:
        """Return the organisation's routing table, built on first use after a change."""
        table = self._tables.get(organisation_id)
        if table is None:
            table = RoutingTable(self._destinations.get(organisation_id, {}).values())
            self._tables[organisation_id] = table
        return table

    # -- changing ---------------------------------------------------------------------------------------

    async def save(self, *entities: Entity) -> None:
        """Store these entities, all or none, each where its revision still stands (0: where there is none).

        Raises:
            Conflict: a name is taken, or somebody changed an entity meanwhile.
        """
        await self.write([Save(entity, unique_name(entity)) for entity in entities])

    async def remove(self, kind: type[Entity], organisation_id: OrganisationId, id: bytes) -> None:  # noqa: A002
        """Remove an entity.

        Raises:
            NotFound: the organisation has none of this kind and id.
        """
        await self.write([Remove(kind, organisation_id, id)])

    async def write(self, ops: list[CatalogOp]) -> None:
        """Carry out all of the ops or none, and see the result; what somebody does by hand is recorded with it."""
        _raise_of(await self._engine.catalog_write([*ops, *self._notes(ops)]))
        await self.refresh()

    async def write_decided(
        self, kind: type[Entity], organisation_id: OrganisationId, decide: Callable[[], list[CatalogOp]]
    ) -> None:
        """Carry out what was decided by all that an organisation has of a kind, and stands when it is stored.

        Args:
            decide: returns the ops, or raises; called again where another process was faster.
        """
        for _ in range(_DECISIONS_MAX):
            unchanged = Unchanged(kind, organisation_id, self._revision)
            ops = decide()
            results = await self._engine.catalog_write([unchanged, *ops, *self._notes(ops)])
            if results[0] is not CatalogResult.STALE:
                _raise_of(results)
                await self.refresh()
                return
            await self.refresh()
        raise Conflict("it was changed meanwhile; read it again", code="changed_meanwhile")

    async def note(self, action: str, summary: dict[str, Any]) -> None:
        """Record what whoever acts here does, where it changes nothing that is stored."""
        record = record_of(action, None, summary)
        if record is not None:
            await self._engine.catalog_write([Note(record)])

    def _notes(self, ops: list[CatalogOp]) -> list[CatalogOp]:
        """Return what tells of the ops, in the trails of whoever acts and of the organisation that is changed."""
        actor = acting()
        if actor is None:
            return []
        notes: list[CatalogOp] = []
        for op in ops:
            found = self._change_of(op)
            if found is not None:
                change, owner = found
                notes += [
                    Note(actor.record(change.action, change.subject, change.summary, organisation_id=each))
                    for each in dict.fromkeys((owner, actor.organisation_id))
                ]
        return notes

    def _change_of(self, op: CatalogOp) -> tuple[Change, OrganisationId] | None:
        if isinstance(op, Hurry | Note | Unchanged):
            return None
        if isinstance(op, Remove):
            gone = self._all.get((op.kind, op.id))
            # What is not there cannot be removed either: the store says so.
            return None if gone is None or isinstance(gone, KeyMark) else (removed(gone), op.organisation_id)
        if isinstance(op.entity, KeyMark):
            return None
        before = self._all.get((type(op.entity), op.entity.id))
        assert not isinstance(before, KeyMark)
        change = created(op.entity) if before is None else updated(before, op.entity)
        return None if change is None else (change, op.entity.organisation_id)

    # -- keeping in step --------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Fetch what changed since the last time."""
        async with self._refreshing:
            delta = await self._engine.catalog_since(self._revision)
            for kind, identifier in delta.removed:
                gone = self._all.pop((kind, identifier), None)
                if gone is not None:
                    self._forget(gone)
            for entity in delta.saved:
                before = self._all.get((type(entity), entity.id))
                if before is not None:
                    self._forget(before)
                    self._note_quiet_hours(before, entity)
                self._all[(type(entity), entity.id)] = entity
                self._learn(entity)
            self._revision = delta.revision
            for kind, identifier in delta.removed:
                if kind is Destination:
                    for told in self._on_destination_removed:
                        told(DestinationId(identifier))

    def tell_of_removed_destinations(self, told: Callable[[DestinationId], None]) -> None:
        """Have someone told of each destination that is there no more, by whichever process it was removed."""
        self._on_destination_removed.append(told)

    async def keep_fresh(self, limits: CatalogLimits) -> None:
        """Fetch other processes' changes for ever: when the store hints at some, and every now and then anyway."""
        while True:
            await self._engine.wait(limits.refresh_every_s, Hint.CATALOG)
            try:
                await self.refresh()
            except Unavailable:
                continue
            await asyncio.sleep(_GATHER_S)

    def _note_quiet_hours(self, before: Entity, after: Entity) -> None:
        if not isinstance(before, Destination) or not isinstance(after, Destination):
            return
        if before.quiet_hours not in (None, after.quiet_hours):
            self._former_quiet_hours[before.id, before.quiet_hours] = before

    def _of(self, kind: type[EntityT]) -> list[EntityT]:
        return [entity for entity in self._all.values() if isinstance(entity, kind)]

    def _learn(self, entity: Entity) -> None:
        if isinstance(entity, ApiKey):
            self._keys[entity.digest] = entity
        elif isinstance(entity, Category):
            self._categories[entity.organisation_id, entity.name] = entity
        elif isinstance(entity, Destination):
            self._destinations.setdefault(entity.organisation_id, {})[entity.id] = entity
            if entity.paused or not entity.enabled:
                self._idle.add(entity.id)
            self._tables.pop(entity.organisation_id, None)
            name = unique_name(entity)
            if name is not None:
                self._webhooks[entity.organisation_id, name] = entity

    def _forget(self, entity: Entity) -> None:
        """Take an entity out of what it is found by, unless another has taken its name over within the same delta."""
        if isinstance(entity, ApiKey):
            self._keys.pop(entity.digest, None)
        elif isinstance(entity, Category):
            if self._categories.get((entity.organisation_id, entity.name)) is entity:
                del self._categories[entity.organisation_id, entity.name]
        elif isinstance(entity, Destination):
            self._destinations.get(entity.organisation_id, {}).pop(entity.id, None)
            self._idle.discard(entity.id)
            self._tables.pop(entity.organisation_id, None)
            name = unique_name(entity)
            if name is not None and self._webhooks.get((entity.organisation_id, name)) is entity:
                del self._webhooks[entity.organisation_id, name]
