"""API keys: how they look, what is kept of them, and that a revoked one is gone."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tocsin.core.errors import NotFound
from tocsin.core.event import Environment
from tocsin.core.identifiers import DEFAULT_ORGANISATION, IdSequence, KeyId, OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, Organisation, Scope
from tocsin.engine.sqlite import SqliteEngine, SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys

NOW_MS = 1_700_000_000_000
OTHER = OrganisationId(b"2" * 16)


class StillClock:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return NOW_MS

    def monotonic_s(self) -> float:
        return 1.0


@asynccontextmanager
async def stored(directory: Path) -> AsyncIterator[tuple[Keys, Catalog]]:
    """Open a store that has two organisations."""
    clock = StillClock()
    engine = SqliteEngine(SqliteSettings(directory=directory), clock=clock, on_fatal=pytest.fail)
    await engine.open()
    try:
        catalog = Catalog(engine)
        await catalog.save(
            Organisation(id=DEFAULT_ORGANISATION, name="one", created_ms=1),
            Organisation(id=OTHER, name="two", created_ms=2),
        )
        ids = IdSequence(secrets.token_bytes)
        yield Keys(catalog=catalog, clock=clock, ids=ids, entropy=secrets.token_bytes), catalog
    finally:
        await engine.close()


def with_keys(directory: Path, act: Callable[[Keys, Catalog], Awaitable[None]]) -> None:
    async def run() -> None:
        async with stored(directory) as (keys, catalog):
            await act(keys, catalog)

    asyncio.run(run())


@pytest.mark.parametrize("environment", list(Environment))
def test_a_key_says_its_environment_and_holds_64_hex_digits(tmp_path: Path, environment: Environment) -> None:
    async def act(keys: Keys, _catalog: Catalog) -> None:
        made = await keys.create(DEFAULT_ORGANISATION, "ci", environment=environment)
        head, _, digits = made.text.rpartition("_")
        assert head == f"tcs_{environment.value}"
        assert len(digits) == 64
        assert bytes.fromhex(digits).hex() == digits
        assert made.key.hint == made.text[:12]
        assert made.key.created_ms == NOW_MS

    with_keys(tmp_path, act)


def test_only_the_digest_of_a_key_is_kept(tmp_path: Path) -> None:
    made_texts: list[str] = []

    async def act(keys: Keys, catalog: Catalog) -> None:
        made = await keys.create(DEFAULT_ORGANISATION, "ci", scopes=frozenset({Scope.READ}))
        made_texts.append(made.text)
        digest = hashlib.sha256(made.text.encode()).digest()
        found = catalog.find_key(digest)
        assert found is not None
        assert (found.name, found.digest, found.scopes) == ("ci", digest, frozenset({Scope.READ}))

    with_keys(tmp_path, act)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert made_texts[0][12:].encode() not in path.read_bytes()


def test_two_keys_are_never_the_same_and_are_listed_oldest_first(tmp_path: Path) -> None:
    async def act(keys: Keys, _catalog: Catalog) -> None:
        made = [await keys.create(DEFAULT_ORGANISATION, f"key {number}") for number in range(20)]
        await keys.create(OTHER, "not mine")
        assert len({each.text for each in made}) == 20
        listed = keys.list(DEFAULT_ORGANISATION)
        assert [each.name for each in listed] == [f"key {number}" for number in range(20)]
        assert all(each.scopes == GRANTABLE_SCOPES for each in listed)

    with_keys(tmp_path, act)


def test_a_revoked_key_is_not_found_any_more(tmp_path: Path) -> None:
    async def act(keys: Keys, catalog: Catalog) -> None:
        made = await keys.create(DEFAULT_ORGANISATION, "leaked")
        await keys.revoke(DEFAULT_ORGANISATION, made.key.id)
        assert catalog.find_key(made.key.digest) is None
        assert keys.list(DEFAULT_ORGANISATION) == []
        with pytest.raises(NotFound):
            await keys.revoke(DEFAULT_ORGANISATION, made.key.id)

    with_keys(tmp_path, act)


def test_a_key_of_another_organisation_cannot_be_revoked(tmp_path: Path) -> None:
    async def act(keys: Keys, catalog: Catalog) -> None:
        made = await keys.create(OTHER, "theirs")
        with pytest.raises(NotFound):
            await keys.revoke(DEFAULT_ORGANISATION, made.key.id)
        with pytest.raises(NotFound):
            await keys.revoke(DEFAULT_ORGANISATION, KeyId(b"x" * 16))
        assert catalog.find_key(made.key.digest) is not None

    with_keys(tmp_path, act)


def test_a_prepared_key_is_stored_by_whoever_asked_for_it(tmp_path: Path) -> None:
    async def act(keys: Keys, catalog: Catalog) -> None:
        made = keys.prepare(DEFAULT_ORGANISATION, "first", scopes=GRANTABLE_SCOPES | {Scope.OPERATOR})
        assert catalog.find_key(made.key.digest) is None
        await catalog.save(made.key)
        found = catalog.find_key(made.key.digest)
        assert found is not None
        assert Scope.OPERATOR in found.scopes

    with_keys(tmp_path, act)
