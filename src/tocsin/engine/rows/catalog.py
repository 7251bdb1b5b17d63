"""The catalog's entities, and changes to them."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from tocsin.core.audit import AuditRecord
from tocsin.core.destination import Destination
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.organisation import ApiKey, Category, Channel, KeyMark, Organisation, ServiceKey

Entity = Organisation | ApiKey | ServiceKey | Channel | Category | Destination | KeyMark
"""What the catalog holds: few, read all the time, kept in memory by every process."""


class Save(msgspec.Struct, frozen=True):
    """Insert (revision 0) or replace the entity that still has this revision.

    Attributes:
        unique_name: refused when another entity of the kind has it in the organisation; None does not claim one.
    """

    entity: Entity
    unique_name: str | None = None


class Remove(msgspec.Struct, frozen=True):
    """Remove an entity, whatever its revision."""

    kind: type[Entity]
    organisation_id: OrganisationId
    id: bytes


class Hurry(msgspec.Struct, frozen=True):
    """Let go what waits for a destination until one moment, as what its quiet hours hold back does.

    Attributes:
        held_until_ms: what waits until another moment goes on waiting.
        due_ms: when it is due from now on.
    """

    organisation_id: OrganisationId
    destination_id: DestinationId
    held_until_ms: int
    due_ms: int


class Note(msgspec.Struct, frozen=True):
    """Keep a record of what else is done, or of what is not the catalog's."""

    record: AuditRecord


class Unchanged(msgspec.Struct, frozen=True):
    """Go on only if nothing of a kind was saved or removed in an organisation after a revision.

    It stands before what was decided by all that the organisation has of the kind.
    """

    kind: type[Entity]
    organisation_id: OrganisationId
    revision: int


CatalogOp = Save | Remove | Hurry | Note | Unchanged


class CatalogResult(StrEnum):
    """What an op of the catalog came to."""

    DONE = "done"
    NAME_TAKEN = "name_taken"
    CHANGED_MEANWHILE = "changed_meanwhile"
    NOT_FOUND = "not_found"
    STALE = "stale"
    """Something was changed by which the list had been decided."""
    SKIPPED = "skipped"
    """Another op of the list was refused."""


class CatalogDelta(msgspec.Struct, frozen=True):
    """What changed: entities as they stand, with their revision, and the ids that are gone."""

    revision: int
    saved: list[Entity]
    removed: list[tuple[type[Entity], bytes]]
