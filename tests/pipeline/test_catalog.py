"""The catalog in memory: found by every path, and in step with what others change."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.remote import NOWHERE
from pipeline.stage import Stage, run
from tocsin.core.destination import Destination, Filter, Transport
from tocsin.core.errors import Conflict, NotFound, Unavailable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DEFAULT_ORGANISATION, ChannelId, DestinationId, KeyId, OrganisationId
from tocsin.core.organisation import ApiKey, Category, Channel, Organisation, ServiceKey, key_digest
from tocsin.pipeline.catalog import Catalog, CatalogLimits

FOREIGN = OrganisationId(b"f" * 16)


def number(value: int) -> bytes:
    return value.to_bytes(16, "big")


def category(value: int, name: str, organisation_id: OrganisationId = DEFAULT_ORGANISATION) -> Category:
    return Category(id=KeyId(number(value)), organisation_id=organisation_id, name=name, color=1, created_ms=0)


def key(value: int, organisation_id: OrganisationId = DEFAULT_ORGANISATION) -> ApiKey:
    digest = key_digest(f"tcs_live_{value}")
    return ApiKey(
        id=KeyId(number(value)), organisation_id=organisation_id, name="a", digest=digest, hint="", created_ms=0
    )


def destination(value: int, name: str = "a", **fields: Any) -> Destination:
    given: dict[str, Any] = {
        "id": DestinationId(number(value)),
        "organisation_id": DEFAULT_ORGANISATION,
        "name": name,
        "transport": Transport.WEBHOOK,
        "created_ms": 0,
        "updated_ms": 0,
        "address": {"url": NOWHERE},
    }
    return Destination(**(given | fields))


def routed(catalog: Catalog, source: str = "s") -> list[str]:
    found = catalog.routing(DEFAULT_ORGANISATION).route(
        dialect=Dialect.TOCSIN, source=source, type="t", subject=None, severity=None
    )
    return [each.name for each in found]


def test_everything_that_is_saved_is_found_by_its_paths_and_by_no_other_organisation(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        catalog = stage.catalog
        channel = Channel(
            id=ChannelId(number(3)),
            organisation_id=DEFAULT_ORGANISATION,
            name="c",
            password_hash="$argon2id$",
            created_ms=0,
        )
        service = ServiceKey(
            id=KeyId(number(4)),
            organisation_id=DEFAULT_ORGANISATION,
            algorithm="EdDSA",
            public_jwk={"kty": "OKP"},
            sealed_private_jwk=b"",
            created_ms=0,
        )
        organisation = Organisation(id=DEFAULT_ORGANISATION, name="o", created_ms=0)
        webhook = destination(5, "hook", origin=Dialect.NATIVEFRAME)
        await catalog.save(organisation, key(1), category(2, "sale"), channel, service, webhook)
        assert catalog.organisation(DEFAULT_ORGANISATION).name == "o"
        assert [each.id for each in catalog.organisations()] == [DEFAULT_ORGANISATION]
        found_key = catalog.find_key(key(1).digest)
        assert found_key is not None
        assert found_key.revision > 0
        assert catalog.keys(DEFAULT_ORGANISATION) == [found_key]
        assert catalog.find_category(DEFAULT_ORGANISATION, "sale") is not None
        assert catalog.find_channel(DEFAULT_ORGANISATION, channel.id) is not None
        assert catalog.find_service_key(service.id) is not None
        assert catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.NATIVEFRAME, "hook") is not None
        assert catalog.any_destination(webhook.id) is not None
        assert [each.id for each in catalog.destinations(DEFAULT_ORGANISATION, Dialect.NATIVEFRAME)] == [webhook.id]
        assert catalog.destinations(DEFAULT_ORGANISATION, Dialect.TOCSIN) == []
        assert catalog.find_channel(FOREIGN, channel.id) is None
        assert catalog.find_category(FOREIGN, "sale") is None
        assert catalog.find_destination(FOREIGN, webhook.id) is None
        assert not any((catalog.keys(FOREIGN), catalog.channels(FOREIGN), catalog.service_keys(FOREIGN)))
        with pytest.raises(NotFound):
            catalog.organisation(FOREIGN)

    run(tmp_path, scenario, sending=False)


def test_another_s_changes_are_seen_after_a_refresh_and_a_revoked_key_is_refused(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        mine, theirs = stage.catalog, Catalog(stage.engine)
        await theirs.save(key(1), key(2), destination(3))
        assert mine.find_key(key(1).digest) is None
        assert routed(mine) == []
        await mine.refresh()
        assert mine.find_key(key(1).digest) is not None
        assert routed(mine) == ["a"]
        await theirs.remove(ApiKey, DEFAULT_ORGANISATION, key(1).id)
        await theirs.remove(Destination, DEFAULT_ORGANISATION, destination(3).id)
        assert mine.find_key(key(1).digest) is not None
        await mine.refresh()
        assert mine.find_key(key(1).digest) is None
        assert mine.find_key(key(2).digest) is not None
        assert routed(mine) == []
        assert list(mine.all_destinations()) == []

    run(tmp_path, scenario, sending=False)


def test_a_catalog_that_starts_late_sees_what_stands_and_nothing_that_is_gone(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.catalog.save(key(1), key(2), category(3, "a"))
        await stage.catalog.remove(ApiKey, DEFAULT_ORGANISATION, key(1).id)
        late = Catalog(stage.engine)
        await late.refresh()
        assert [each.id for each in late.keys(DEFAULT_ORGANISATION)] == [key(2).id]
        assert late.find_key(key(1).digest) is None

    run(tmp_path, scenario, sending=False)


def test_keeping_fresh_goes_on_after_the_store_was_away(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        mine, theirs = Catalog(stage.engine), stage.catalog
        await theirs.save(key(1))
        stage.engine.faults["catalog_since"] = [Unavailable("the disk is full")]
        keeping = asyncio.get_running_loop().create_task(mine.keep_fresh(CatalogLimits(refresh_every_s=0.01)))
        await stage.signal.until(lambda: len(stage.engine.batches["catalog_since"]) >= 5)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        assert mine.find_key(key(1).digest) is not None

    run(tmp_path, scenario, sending=False)


def test_the_routing_table_follows_every_change_of_a_destination(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        catalog = stage.catalog
        await catalog.save(destination(1, "one"), destination(2, "two", filter=Filter(sources=("other",))))
        assert routed(catalog) == ["one"]
        table = catalog.routing(DEFAULT_ORGANISATION)
        assert catalog.routing(DEFAULT_ORGANISATION) is table
        await catalog.save(category(9, "unrelated"))
        assert catalog.routing(DEFAULT_ORGANISATION) is table
        two = catalog.any_destination(DestinationId(number(2)))
        assert two is not None
        await catalog.save(msgspec.structs.replace(two, filter=Filter()))
        assert routed(catalog) == ["one", "two"]
        await catalog.remove(Destination, DEFAULT_ORGANISATION, DestinationId(number(1)))
        assert routed(catalog) == ["two"]

    run(tmp_path, scenario, sending=False)


def test_of_two_changes_of_one_revision_the_second_is_refused(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        mine, theirs = stage.catalog, Catalog(stage.engine)
        await mine.save(category(1, "a"))
        await theirs.refresh()
        found = mine.find_category(DEFAULT_ORGANISATION, "a")
        assert found is not None
        await theirs.save(msgspec.structs.replace(found, color=2))
        with pytest.raises(Conflict) as caught:
            await mine.save(msgspec.structs.replace(found, color=3))
        assert caught.value.code == "changed_meanwhile"
        with pytest.raises(Conflict, match="changed"):
            await mine.save(category(1, "b"))
        await mine.refresh()
        found = mine.find_category(DEFAULT_ORGANISATION, "a")
        assert found is not None
        assert found.color == 2

    run(tmp_path, scenario, sending=False)


def test_a_list_of_changes_happens_whole_or_not_at_all(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        catalog = stage.catalog
        await catalog.save(category(1, "taken"))
        with pytest.raises(Conflict) as caught:
            await catalog.save(category(2, "free"), category(3, "taken"), category(4, "also free"))
        assert caught.value.code == "name_taken"
        await catalog.refresh()
        assert [each.name for each in catalog.categories(DEFAULT_ORGANISATION)] == ["taken"]

    run(tmp_path, scenario, sending=False)


def test_names_are_unique_where_they_are_looked_up_and_nowhere_else(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        catalog = stage.catalog
        await catalog.save(destination(1), destination(2))
        await catalog.save(
            destination(3, "x", origin=Dialect.NATIVEFRAME), destination(4, "x", origin=Dialect.PINGPILOT)
        )
        with pytest.raises(Conflict) as caught:
            await catalog.save(destination(5, "x", origin=Dialect.NATIVEFRAME))
        assert caught.value.code == "name_taken"
        await catalog.save(category(6, "x"), category(7, "x", FOREIGN))
        await catalog.remove(Destination, DEFAULT_ORGANISATION, number(3))
        assert catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.NATIVEFRAME, "x") is None
        await catalog.save(destination(5, "x", origin=Dialect.NATIVEFRAME))

    run(tmp_path, scenario, sending=False)


def test_only_its_own_organisation_removes_an_entity_and_only_once(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.catalog.save(key(1))
        with pytest.raises(NotFound):
            await stage.catalog.remove(ApiKey, FOREIGN, key(1).id)
        await stage.catalog.remove(ApiKey, DEFAULT_ORGANISATION, key(1).id)
        with pytest.raises(NotFound):
            await stage.catalog.remove(ApiKey, DEFAULT_ORGANISATION, key(1).id)

    run(tmp_path, scenario, sending=False)


def test_names_that_changed_hands_between_two_refreshes_are_all_found(tmp_path: Path) -> None:
    async def scenario(stage: Stage) -> None:
        mine, theirs = Catalog(stage.engine), stage.catalog
        hooks = [destination(value, name, origin=Dialect.NATIVEFRAME) for value, name in ((3, "x"), (4, "y"))]
        await theirs.save(category(1, "x"), category(2, "y"), *hooks)
        await mine.refresh()

        async def rename(before: str, after: str) -> None:
            found = theirs.find_category(DEFAULT_ORGANISATION, before)
            hook = theirs.find_named_destination(DEFAULT_ORGANISATION, Dialect.NATIVEFRAME, before)
            assert found is not None
            assert hook is not None
            await theirs.save(msgspec.structs.replace(found, name=after), msgspec.structs.replace(hook, name=after))

        await rename("x", "z")
        await rename("y", "x")
        await rename("z", "y")
        await mine.refresh()
        for catalog in (mine, theirs):
            names = {each.name: each.id for each in catalog.categories(DEFAULT_ORGANISATION)}
            assert names == {"y": number(1), "x": number(2)}
            for name, value in (("y", 3), ("x", 4)):
                hook = catalog.find_named_destination(DEFAULT_ORGANISATION, Dialect.NATIVEFRAME, name)
                assert hook is not None
                assert hook.id == number(value)

    run(tmp_path, scenario, sending=False)
