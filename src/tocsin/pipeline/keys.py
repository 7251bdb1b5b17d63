"""Making, listing and revoking API keys."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.event import Environment
from tocsin.core.identifiers import IdSequence, KeyId, OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, ApiKey, Scope, key_digest
from tocsin.pipeline.catalog import Catalog

KEY_BYTES = 32
"""Random bytes in a key; they are why a plain SHA-256 is enough to store it."""

HINT_CHARACTERS = 12
"""How much of a key is kept to tell it from others: ``tcs_live_`` and three digits, 12 of its 256 bits."""


class MadeKey(msgspec.Struct, frozen=True):
    """A new key.

    Attributes:
        key: what is stored of it.
        text: the key itself, which nobody can show again.
    """

    key: ApiKey
    text: str


class Keys:
    """Makes, lists and revokes the API keys of organisations.

    Args:
        entropy: returns that many random bytes, from a source fit for secrets.
    """

    def __init__(self, *, catalog: Catalog, clock: Clock, ids: IdSequence, entropy: Callable[[int], bytes]) -> None:
        self._catalog = catalog
        self._clock = clock
        self._ids = ids
        self._entropy = entropy

    def prepare(
        self,
        organisation_id: OrganisationId,
        name: str,
        *,
        environment: Environment = Environment.LIVE,
        scopes: frozenset[Scope] = GRANTABLE_SCOPES,
    ) -> MadeKey:
        """Return a key that is not stored yet, for whoever stores it together with something else."""
        assert scopes
        now_ms = self._clock.now_ms()
        text = f"tcs_{environment.value}_{self._entropy(KEY_BYTES).hex()}"
        key = ApiKey(
            id=KeyId(self._ids.make(now_ms)),
            organisation_id=organisation_id,
            name=name,
            digest=key_digest(text),
            hint=text[:HINT_CHARACTERS],
            created_ms=now_ms,
            environment=environment,
            scopes=scopes,
        )
        return MadeKey(key, text)

    async def create(
        self,
        organisation_id: OrganisationId,
        name: str,
        *,
        environment: Environment = Environment.LIVE,
        scopes: frozenset[Scope] = GRANTABLE_SCOPES,
    ) -> MadeKey:
        """Store a new key; it works from now on, and its text is shown only now."""
        made = self.prepare(organisation_id, name, environment=environment, scopes=scopes)
        await self._catalog.save(made.key)
        return made

    def list(self, organisation_id: OrganisationId) -> list[ApiKey]:
        """Return the organisation's keys, oldest first."""
        return self._catalog.keys(organisation_id)

    async def revoke(self, organisation_id: OrganisationId, key_id: KeyId) -> None:
        """Remove a key; in this process it is refused from now on, in others within a second.

        Raises:
            NotFound: the organisation has none of this id.
        """
        await self._catalog.remove(ApiKey, organisation_id, key_id)
