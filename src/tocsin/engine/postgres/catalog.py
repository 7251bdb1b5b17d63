"""The catalog's entries: versioned, compared and set."""

from __future__ import annotations

from collections.abc import Sequence

from tocsin.core.destination import Destination
from tocsin.core.organisation import Channel
from tocsin.engine.codec import KIND_NAMES, delta_of, entity_body
from tocsin.engine.postgres.audit import keep
from tocsin.engine.postgres.sql import Connection, execute, fetch, fetch_each_part, first, lock_gate
from tocsin.engine.rows import CatalogDelta, CatalogOp, CatalogResult, Hurry, Remove, Save, Unchanged


async def write(connection: Connection, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
    """Carry out all ops, or none when one is refused.

    One writer at a time: who asks what changed since a revision is never told a later one before an earlier one.
    """
    await lock_gate(connection, "catalog")
    row = await first(connection, "catalog_revision")
    assert row is not None
    revision = int(row[0])
    await connection.execute("savepoint catalog")
    results: list[CatalogResult] = []
    for op in ops:
        revision += 1
        results.append(await _carry_out(connection, op, revision))
        if results[-1] is not CatalogResult.DONE:
            await connection.execute("rollback to savepoint catalog")
            results = [CatalogResult.SKIPPED] * (len(results) - 1) + results[-1:]
            return results + [CatalogResult.SKIPPED] * (len(ops) - len(results))
    return results


async def _carry_out(connection: Connection, op: CatalogOp, revision: int) -> CatalogResult:
    if isinstance(op, Save):
        return await _save(connection, op, revision)
    if isinstance(op, Remove):
        return await _remove(connection, op, revision)
    if isinstance(op, Hurry):
        held = (op.due_ms, op.destination_id, op.held_until_ms, op.organisation_id)
        await fetch_each_part(connection, "release_held", *held)
        return CatalogResult.DONE
    if isinstance(op, Unchanged):
        changed = await first(connection, "catalog_changed", op.revision, KIND_NAMES[op.kind], op.organisation_id)
        return CatalogResult.DONE if changed is None else CatalogResult.STALE
    await keep(connection, [op.record])
    return CatalogResult.DONE


async def since(connection: Connection, revision: int) -> CatalogDelta:
    """Return what changed after ``revision``."""
    return delta_of(await fetch(connection, "catalog_since", revision), revision)


async def _save(connection: Connection, op: Save, revision: int) -> CatalogResult:
    entity = op.entity
    kind = KIND_NAMES[type(entity)]
    found = await first(connection, "catalog_entry", kind, entity.id)
    stands = 0 if found is None or found[1] else int(found[0])
    if stands != entity.revision or (stands and found is not None and found[2] != entity.organisation_id):
        return CatalogResult.CHANGED_MEANWHILE
    if op.unique_name is not None:
        holder = await first(connection, "catalog_name_holder", kind, entity.organisation_id, op.unique_name)
        if holder is not None and holder[0] != entity.id:
            return CatalogResult.NAME_TAKEN
    entry = (kind, entity.id, entity.organisation_id, op.unique_name, revision, entity_body(entity))
    await execute(connection, "save_catalog_entry", *entry)
    return CatalogResult.DONE


async def _remove(connection: Connection, op: Remove, revision: int) -> CatalogResult:
    kind = KIND_NAMES[op.kind]
    found = await first(connection, "catalog_entry", kind, op.id)
    if found is None or found[1] or found[2] != op.organisation_id:
        return CatalogResult.NOT_FOUND
    await execute(connection, "save_catalog_entry", kind, op.id, op.organisation_id, None, revision, None)
    if op.kind is Channel:
        await execute(connection, "drop_subscriptions", op.id)
    elif op.kind is Destination:
        # A dispatcher claims what waits for it, finds it gone, and cancels.
        await fetch_each_part(connection, "hurry_destination", op.id)
    return CatalogResult.DONE
