"""Who asks: API keys, as every dialect takes them."""

from __future__ import annotations

import hmac

import msgspec

from tocsin.core.audit import Actor, ActorKind
from tocsin.core.errors import NotPermitted
from tocsin.core.event import Environment
from tocsin.core.identifiers import KeyId, OrganisationId
from tocsin.core.organisation import Scope, key_digest
from tocsin.pipeline.audit import Audit
from tocsin.pipeline.catalog import Catalog


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever made a request.

    Attributes:
        key_id, key_name: of the key that was shown; None where the dialect lets a request in without one.
    """

    organisation_id: OrganisationId
    environment: Environment
    scopes: frozenset[Scope]
    key_id: KeyId | None = None
    key_name: str | None = None

    @property
    def actor(self) -> Actor:
        """Who this is in the audit trail."""
        if self.key_id is None:
            return Actor(kind=ActorKind.OTHER)
        kind = ActorKind.OPERATOR if Scope.OPERATOR in self.scopes else ActorKind.KEY
        return Actor(kind=kind, key_id=self.key_id, name=self.key_name)

    def require(self, scope: Scope) -> None:
        """Return if this key has the scope.

        Raises:
            NotPermitted: ``missing_scope``.
        """
        if scope not in self.scopes:
            raise NotPermitted(f"this key lacks the scope {scope.value}", code="missing_scope")

    def require_live(self) -> None:
        """Return if this key is a live one; a test key must not come by what opens the live half.

        Raises:
            NotPermitted: ``live_key_required``.
        """
        if self.environment is not Environment.LIVE:
            raise NotPermitted("this needs a live key, and was asked for with a test key", code="live_key_required")


class KeyRing:
    """Finds the principal of an API key.

    A key is looked up by its digest, so the time a look-up takes tells nothing about the key.

    Args:
        audit: where it is noted who acts; None keeps no audit trail.
    """

    def __init__(self, catalog: Catalog, *, audit: Audit | None = None) -> None:
        self._catalog = catalog
        self._audit = audit

    def find(self, key: str) -> Principal | None:
        """Return who this key is, or None when nobody."""
        digest = key_digest(key)
        found = self._catalog.find_key(digest)
        if found is None or not hmac.compare_digest(found.digest, digest):
            return None
        return Principal(
            organisation_id=found.organisation_id,
            environment=found.environment,
            scopes=found.scopes,
            key_id=found.id,
            key_name=found.name,
        )

    def note(self, principal: Principal, client: str) -> None:
        """Note for the audit trail that this principal acts, from here to the end of the request.

        Every dialect does so where it lets a request in that may do something of which the audit trail tells: events
        that are stored and consumed are not among that.

        Args:
            client: the peer's address.
        """
        if self._audit is not None:
            self._audit.enter(principal.organisation_id, principal.actor, client)


def bearer(header: str | None) -> str | None:
    """Return the token of an ``Authorization`` header, the scheme in any case; None without one.

    Source: RFC 9110, section 11.1.
    """
    if header is None or header[:7].lower() != "bearer ":
        return None
    return header[7:].strip()
