"""The catalog's entries: versioned, compared and set."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from tocsin.core.destination import Destination
from tocsin.core.organisation import Channel
from tocsin.engine.codec import KIND_NAMES, delta_of, entity_body
from tocsin.engine.rows import CatalogDelta, CatalogOp, CatalogResult, Hurry, Remove, Save, Unchanged
from tocsin.engine.sqlite.audit import keep
from tocsin.engine.sqlite.sql import SQL, first


def write(connection: apsw.Connection, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
    """Carry out all ops, or none when one is refused."""
    row = first(connection, "catalog_revision")
    assert row is not None
    revision = int(row[0])
    connection.execute("savepoint catalog")
    results: list[CatalogResult] = []
    for op in ops:
        revision += 1
        results.append(_carry_out(connection, op, revision))
        if results[-1] is not CatalogResult.DONE:
            connection.execute("rollback to catalog")
            results = [CatalogResult.SKIPPED] * (len(results) - 1) + results[-1:]
            results += [CatalogResult.SKIPPED] * (len(ops) - len(results))
            break
    connection.execute("release catalog")
    return results


def _carry_out(connection: apsw.Connection, op: CatalogOp, revision: int) -> CatalogResult:
    if isinstance(op, Save):
        return _save(connection, op, revision)
    if isinstance(op, Remove):
        return _remove(connection, op, revision)
    if isinstance(op, Hurry):
        held = (op.due_ms, op.destination_id, op.held_until_ms, op.organisation_id)
        connection.execute(SQL["release_held"], held)
        return CatalogResult.DONE
    if isinstance(op, Unchanged):
        changed = first(connection, "catalog_changed", op.revision, KIND_NAMES[op.kind], op.organisation_id)
        return CatalogResult.DONE if changed is None else CatalogResult.STALE
    keep(connection, [op.record])
    return CatalogResult.DONE


def since(connection: apsw.Connection, revision: int) -> CatalogDelta:
    """Return what changed after ``revision``."""
    return delta_of(connection.execute(SQL["catalog_since"], (revision,)), revision)


def _save(connection: apsw.Connection, op: Save, revision: int) -> CatalogResult:
    entity = op.entity
    kind = KIND_NAMES[type(entity)]
    found = first(connection, "catalog_entry", kind, entity.id)
    stands = 0 if found is None or found[1] else int(found[0])
    if stands != entity.revision or (stands and found is not None and found[2] != entity.organisation_id):
        return CatalogResult.CHANGED_MEANWHILE
    if op.unique_name is not None:
        holder = first(connection, "catalog_name_holder", kind, entity.organisation_id, op.unique_name)
        if holder is not None and holder[0] != entity.id:
            return CatalogResult.NAME_TAKEN
    connection.execute(
        SQL["save_catalog_entry"],
        (kind, entity.id, entity.organisation_id, op.unique_name, revision, entity_body(entity)),
    )
    return CatalogResult.DONE


def _remove(connection: apsw.Connection, op: Remove, revision: int) -> CatalogResult:
    kind = KIND_NAMES[op.kind]
    found = first(connection, "catalog_entry", kind, op.id)
    if found is None or found[1] or found[2] != op.organisation_id:
        return CatalogResult.NOT_FOUND
    connection.execute(SQL["save_catalog_entry"], (kind, op.id, op.organisation_id, None, revision, None))
    if op.kind is Channel:
        connection.execute(SQL["drop_subscriptions"], (op.id,))
    elif op.kind is Destination:
        # A dispatcher claims what waits for it, finds it gone, and cancels.
        connection.execute(SQL["hurry_destination"], (op.id,))
    return CatalogResult.DONE
