"""``catalog_write`` and ``catalog_since``: few things, versioned, changed all or not at all."""

from __future__ import annotations

import asyncio

import msgspec

from tocsin.core.destination import Destination, Filter, SealedSecret, Transport
from tocsin.core.identifiers import ChannelId, DestinationId, KeyId, OrganisationId
from tocsin.core.organisation import ApiKey, Category, Channel, KeyMark, Organisation, Scope, ServiceKey
from tocsin.core.retry import PROMPTJANG
from tocsin.engine.codec import KIND_NAMES, KINDS
from tocsin.engine.rows import CatalogOp, CatalogResult, Entity, Remove, Save, Unchanged
from tocsin.testing.engine_contract.stage import Stage, scenario

_HASH = "$argon2id$"
DONE, SKIPPED, STALE = CatalogResult.DONE, CatalogResult.SKIPPED, CatalogResult.STALE
CHANGED, TAKEN, NOT_FOUND = CatalogResult.CHANGED_MEANWHILE, CatalogResult.NAME_TAKEN, CatalogResult.NOT_FOUND


def _category(stage: Stage, name: str = "c", *, organisation: OrganisationId | None = None) -> Category:
    return Category(
        id=KeyId(stage.id()),
        organisation_id=organisation or stage.organisation,
        name=name,
        color=1,
        created_ms=stage.clock.now_ms(),
    )


def _one_of_each(stage: Stage) -> list[Entity]:
    now_ms, organisation = stage.clock.now_ms(), stage.organisation
    return [
        Organisation(id=organisation, name="Ä", created_ms=now_ms, jwks_url="https://keys.example"),
        ApiKey(
            id=KeyId(stage.id()),
            organisation_id=organisation,
            name="k",
            digest=b"d" * 32,
            hint="h",
            created_ms=now_ms,
            scopes=frozenset({Scope.READ}),
        ),
        ServiceKey(
            id=KeyId(stage.id()),
            organisation_id=organisation,
            algorithm="ES256",
            public_jwk={"kty": "EC", "n": [1]},
            sealed_private_jwk=b"\x00\xff",
            created_ms=now_ms,
        ),
        Channel(
            id=ChannelId(stage.id()), organisation_id=organisation, name="c", password_hash=_HASH, created_ms=now_ms
        ),
        _category(stage),
        Destination(
            id=DestinationId(stage.id()),
            organisation_id=organisation,
            name="d",
            transport=Transport.WEBHOOK,
            created_ms=now_ms,
            updated_ms=now_ms,
            address={"url": "https://receiver.example"},
            secrets=(SealedSecret(b"\x01", now_ms),),
            filter=Filter(types=("a.*",)),
            retry=PROMPTJANG,
        ),
        KeyMark(digest=b"\x00\xff" * 8),
    ]


async def _write(stage: Stage, *ops: CatalogOp) -> list[CatalogResult]:
    return await stage.engine.catalog_write(ops)


async def _standing(stage: Stage) -> dict[bytes, Entity]:
    return {each.id: each for each in (await stage.engine.catalog_since(0)).saved}


class CatalogContract:
    """Compare and set."""

    @scenario
    async def test_every_kind_comes_back_with_its_revision(self, stage: Stage) -> None:
        entities = _one_of_each(stage)
        assert await _write(stage, *(Save(each) for each in entities)) == [DONE] * len(entities)
        delta = await stage.engine.catalog_since(0)
        revisions = [each.revision for each in delta.saved]
        assert all(revision > 0 for revision in revisions)
        assert [msgspec.structs.replace(each, revision=0) for each in delta.saved] == entities
        assert delta.revision == max(revisions)
        assert delta.removed == []

    @scenario
    async def test_a_kind_that_only_a_newer_program_knows_is_passed_over(self, stage: Stage) -> None:
        kept, gone = _category(stage, "kept"), _category(stage, "gone")
        channel = Channel(
            id=ChannelId(stage.id()), organisation_id=stage.organisation, name="c", password_hash=_HASH, created_ms=0
        )
        await _write(stage, Save(channel), Save(kept), Save(gone))
        await _write(stage, Remove(Category, stage.organisation, gone.id))
        everything = await stage.engine.catalog_since(0)
        name = KIND_NAMES[Category]
        kind = KINDS.pop(name)
        try:
            delta = await stage.engine.catalog_since(0)
        finally:
            KINDS[name] = kind
        assert [each.id for each in delta.saved] == [channel.id]
        assert delta.removed == []
        assert delta.revision == everything.revision

    @scenario
    async def test_a_change_needs_the_revision_that_stands(self, stage: Stage) -> None:
        await _write(stage, Save(_category(stage)))
        (stands,) = (await _standing(stage)).values()
        changed = msgspec.structs.replace(stands, name="changed")
        assert await _write(stage, Save(changed)) == [DONE]
        for revision in (0, stands.revision, stands.revision + 99):
            stale = msgspec.structs.replace(stands, revision=revision)
            assert await _write(stage, Save(stale)) == [CHANGED]
        (now,) = (await _standing(stage)).values()
        assert now == msgspec.structs.replace(changed, revision=now.revision)
        assert now.revision > stands.revision

    @scenario
    async def test_what_was_decided_by_all_of_a_kind_is_refused_once_one_of_them_changed(self, stage: Stage) -> None:
        mine, foreign = _category(stage), _category(stage, organisation=stage.foreign)
        await _write(stage, Save(mine), Save(foreign))
        seen = (await stage.engine.catalog_since(0)).revision
        unchanged = Unchanged(Category, stage.organisation, seen)
        other = Unchanged(Channel, stage.organisation, seen)
        assert await _write(stage, unchanged, Save(_category(stage, "a"))) == [DONE, DONE]
        assert await _write(stage, unchanged, Save(_category(stage, "b"))) == [STALE, SKIPPED]
        assert await _write(stage, other, Save(_category(stage, "c"))) == [DONE, DONE]
        seen = (await stage.engine.catalog_since(0)).revision
        unchanged = Unchanged(Category, stage.organisation, seen)
        await _write(stage, Remove(Category, stage.foreign, foreign.id))
        assert await _write(stage, unchanged) == [DONE]
        await _write(stage, Remove(Category, stage.organisation, mine.id))
        assert await _write(stage, unchanged) == [STALE]
        names = {each.name for each in (await _standing(stage)).values() if isinstance(each, Category)}
        assert names == {"a", "c"}

    @scenario
    async def test_what_is_not_there_cannot_be_changed(self, stage: Stage) -> None:
        gone = msgspec.structs.replace(_category(stage), revision=3)
        assert await _write(stage, Save(gone)) == [CHANGED]

    @scenario
    async def test_of_racing_changes_one_succeeds(self, stage: Stage) -> None:
        await _write(stage, Save(_category(stage)))
        (stands,) = (await _standing(stage)).values()
        racing = [Save(msgspec.structs.replace(stands, name=f"n{number}")) for number in range(30)]
        results = await asyncio.gather(*(_write(stage, each) for each in racing))
        assert sorted(result for (result,) in results) == [CHANGED] * 29 + [DONE]

    @scenario
    async def test_a_name_is_taken_once_in_an_organisation_and_a_kind(self, stage: Stage) -> None:
        first = _category(stage, "name")
        assert await _write(stage, Save(first, "name")) == [DONE]
        assert await _write(stage, Save(_category(stage, "name"), "name")) == [TAKEN]
        assert await _write(stage, Save(_category(stage, "name"))) == [DONE], "it does not claim the name"
        other = Save(_category(stage, "name", organisation=stage.foreign), "name")
        channel = Channel(
            id=ChannelId(stage.id()),
            organisation_id=stage.organisation,
            name="name",
            password_hash=_HASH,
            created_ms=0,
        )
        assert await _write(stage, other, Save(channel, "name")) == [DONE, DONE]
        stands = (await _standing(stage))[first.id]
        assert await _write(stage, Save(stands, "name")) == [DONE], "it keeps its own name"

    @scenario
    async def test_a_name_is_free_when_its_holder_leaves_it(self, stage: Stage) -> None:
        first = _category(stage)
        await _write(stage, Save(first, "name"))
        stands = (await _standing(stage))[first.id]
        assert await _write(stage, Save(stands, "other"), Save(_category(stage), "name")) == [DONE, DONE]
        remove = Remove(Category, stage.organisation, first.id)
        assert await _write(stage, remove, Save(_category(stage), "other")) == [DONE, DONE]

    @scenario
    async def test_a_refused_op_refuses_all(self, stage: Stage) -> None:
        kept = _category(stage)
        await _write(stage, Save(kept, "name"))
        before = await stage.engine.catalog_since(0)
        refused: list[tuple[CatalogOp, CatalogResult]] = [
            (Save(_category(stage), "name"), TAKEN),
            (Save(msgspec.structs.replace(kept, revision=99)), CHANGED),
            (Remove(Category, stage.organisation, stage.id()), NOT_FOUND),
        ]
        for op, result in refused:
            ops: list[CatalogOp] = [
                Save(_category(stage), "other"),
                Remove(Category, stage.organisation, kept.id),
                op,
            ]
            if result is not NOT_FOUND:
                ops.pop(1)
            last = Save(_category(stage), "third")
            results = await _write(stage, *ops, last)
            assert results == [SKIPPED] * (len(ops) - 1) + [result, SKIPPED]
            assert await stage.engine.catalog_since(0) == before


class CatalogChangesContract:
    """``catalog_since`` tells all that happened, and no more."""

    @scenario
    async def test_an_empty_catalog_has_no_changes(self, stage: Stage) -> None:
        delta = await stage.engine.catalog_since(0)
        assert (delta.revision, delta.saved, delta.removed) == (0, [], [])

    @scenario
    async def test_only_what_changed_since_is_told(self, stage: Stage) -> None:
        first, second = _category(stage), _category(stage)
        await _write(stage, Save(first), Save(second))
        seen = (await stage.engine.catalog_since(0)).revision
        assert await stage.engine.catalog_since(seen) == msgspec.structs.replace(
            await stage.engine.catalog_since(seen), revision=seen, saved=[], removed=[]
        )
        stands = (await _standing(stage))[second.id]
        await _write(stage, Save(msgspec.structs.replace(stands, name="changed")))
        delta = await stage.engine.catalog_since(seen)
        assert [each.id for each in delta.saved] == [second.id]
        assert delta.revision > seen

    @scenario
    async def test_a_removal_is_told(self, stage: Stage) -> None:
        entity = _category(stage)
        await _write(stage, Save(entity, "name"))
        seen = (await stage.engine.catalog_since(0)).revision
        remove = Remove(Category, stage.organisation, entity.id)
        assert await _write(stage, remove) == [DONE]
        assert await _write(stage, remove) == [NOT_FOUND]
        delta = await stage.engine.catalog_since(seen)
        assert (delta.saved, delta.removed) == ([], [(Category, entity.id)])
        await stage.reopen()
        assert await stage.engine.catalog_since(seen) == delta

    @scenario
    async def test_what_was_removed_may_be_made_again(self, stage: Stage) -> None:
        entity = _category(stage)
        await _write(stage, Save(entity, "name"))
        await _write(stage, Remove(Category, stage.organisation, entity.id))
        seen = (await stage.engine.catalog_since(0)).revision
        assert await _write(stage, Save(entity, "name")) == [DONE]
        delta = await stage.engine.catalog_since(seen)
        assert ([each.id for each in delta.saved], delta.removed) == ([entity.id], [])

    @scenario
    async def test_whoever_follows_the_changes_has_the_whole_catalog(self, stage: Stage) -> None:
        followed: dict[bytes, Entity] = {}
        revision = 0
        for number in range(60):
            standing = await _standing(stage)
            if standing and stage.random.random() < 0.5:
                chosen = stage.random.choice(list(standing.values()))
                op: CatalogOp = Remove(Category, stage.organisation, chosen.id)
                if stage.random.random() < 0.6:
                    op = Save(msgspec.structs.replace(chosen, name=f"n{number}"))
            else:
                op = Save(_category(stage))
            await _write(stage, op)
            if stage.random.random() < 0.4:
                delta = await stage.engine.catalog_since(revision)
                revision = delta.revision
                for _, gone in delta.removed:
                    followed.pop(gone, None)
                followed |= {each.id: each for each in delta.saved}
                assert followed == await _standing(stage)
