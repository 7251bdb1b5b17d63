"""The first run: the default organisation, its key, and the operator's."""

from __future__ import annotations

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import Conflict
from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId
from tocsin.core.organisation import GRANTABLE_SCOPES, Organisation, Scope
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.keys import Keys


class FirstKeys(msgspec.Struct, frozen=True, kw_only=True):
    """What a fresh installation shows once."""

    organisation_id: OrganisationId
    api_key: str
    operator_key: str


async def provision(catalog: Catalog, keys: Keys, clock: Clock) -> FirstKeys | None:
    """Make the default organisation with its keys; return them, or None where that was done before.

    Of processes that start at once on one store, one does it.
    """
    if catalog.organisations():
        return None
    organisation = Organisation(id=DEFAULT_ORGANISATION, name="default", created_ms=clock.now_ms())
    try:
        return await make_keys(catalog, keys, organisation)
    except Conflict:
        await catalog.refresh()
        return None


async def make_keys(catalog: Catalog, keys: Keys, *also: Organisation) -> FirstKeys:
    """Make a key of the default organisation and an operator's key, in one transaction with what else is given."""
    api_key = keys.prepare(DEFAULT_ORGANISATION, "first key")
    operator_key = keys.prepare(DEFAULT_ORGANISATION, "operator", scopes=GRANTABLE_SCOPES | {Scope.OPERATOR})
    await catalog.save(*also, api_key.key, operator_key.key)
    return FirstKeys(organisation_id=DEFAULT_ORGANISATION, api_key=api_key.text, operator_key=operator_key.text)
