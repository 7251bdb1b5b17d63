"""Makes service keys, mints tokens with them, and tells whose a token is."""

from __future__ import annotations

import asyncio
from typing import Any

import jwt
import msgspec

from tocsin.core.clock import Clock
from tocsin.core.errors import Conflict, InvalidRequest, NotFound
from tocsin.core.identifiers import IdSequence, KeyId, OrganisationId, hex32, parse_hex32, parse_prefixed, prefixed
from tocsin.core.organisation import ServiceKey
from tocsin.engine.rows import CatalogOp, Save
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.vault import Vault
from tocsin.web.tokens.claims import check_claims, parse, refusal
from tocsin.web.tokens.external import ExternalKeys, JwksSource
from tocsin.web.tokens.jwk import (
    ALGORITHMS,
    EDDSA,
    VerifyingKey,
    generate,
    private_jwk,
    public_jwk,
    public_members,
    signing_key,
    stored_key,
    verifying_key,
)
from tocsin.web.tokens.limits import TokenLimits


class Tokens:
    """The authority over Native Frame's tokens.

    Args:
        jwks: fetches the key sets of organisations that trust an external one.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        vault: Vault,
        clock: Clock,
        ids: IdSequence,
        jwks: JwksSource,
        limits: TokenLimits,
    ) -> None:
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._external = ExternalKeys(source=jwks, clock=clock, limits=limits)
        self._making_key = asyncio.Lock()
        self._verifying: dict[KeyId, tuple[ServiceKey, VerifyingKey | None]] = {}
        self._jws = jwt.PyJWS(algorithms=list(ALGORITHMS), options={"enforce_minimum_key_length": True})

    # -- keys -------------------------------------------------------------------------------------------

    async def ensure_key(self, organisation_id: OrganisationId) -> ServiceKey:
        """Return the organisation's newest service key, after making one for EdDSA where it has none."""
        async with self._making_key:
            present = self._catalog.service_keys(organisation_id)
            if present:
                return present[-1]
            key = await self._make(organisation_id, EDDSA, None)

            def unless_present() -> list[CatalogOp]:
                # Another process may have made one meanwhile.
                return [] if self._catalog.service_keys(organisation_id) else [Save(key)]

            await self._catalog.write_decided(ServiceKey, organisation_id, unless_present)
            return self._catalog.service_keys(organisation_id)[-1]

    async def add_key(
        self, organisation_id: OrganisationId, algorithm: str = EDDSA, imported: dict[str, Any] | None = None
    ) -> ServiceKey:
        """Store a service key that signs from now on; tokens of the older ones stay good.

        Args:
            algorithm: ``EdDSA``, ``ES256`` or ``RS256``.
            imported: the key pair as a JWK; None makes a new one.

        Raises:
            InvalidRequest: another algorithm, or no key pair for it.
            Conflict: ``service_key_limit_reached``.
        """
        async with self._making_key:
            self._check_room(organisation_id)
            key = await self._make(organisation_id, algorithm, imported)

            def where_there_is_room() -> list[CatalogOp]:
                self._check_room(organisation_id)
                return [Save(key)]

            await self._catalog.write_decided(ServiceKey, organisation_id, where_there_is_room)
            return self._catalog.find_service_key(key.id) or key

    def _check_room(self, organisation_id: OrganisationId) -> None:
        most = self._limits.keys_max
        if len(self._catalog.service_keys(organisation_id)) >= most:
            text = f"an organisation has at most {most} service keys; remove one first"
            raise Conflict(text, code="service_key_limit_reached")

    async def _make(
        self, organisation_id: OrganisationId, algorithm: str, imported: dict[str, Any] | None
    ) -> ServiceKey:
        """Return a service key that is not stored yet."""
        # In a thread, since an RSA key takes a tenth of a second to find, and longer to check.
        private = await (
            asyncio.to_thread(generate, algorithm)
            if imported is None
            else asyncio.to_thread(signing_key, algorithm, imported)
        )
        now_ms = self._clock.now_ms()
        key_id = KeyId(self._ids.make(now_ms))
        secret = msgspec.json.encode(private_jwk(algorithm, private))
        return ServiceKey(
            id=key_id,
            organisation_id=organisation_id,
            algorithm=algorithm,
            public_jwk=public_jwk(algorithm, private),
            sealed_private_jwk=self._vault.seal(secret, organisation_id + key_id),
            created_ms=now_ms,
        )

    def public_keys(self) -> list[dict[str, Any]]:
        """Return the public half of every organisation's service keys as JWKs, oldest first.

        Source: RFC 7517, section 4.
        """
        return [
            {**public_members(key.public_jwk), "kid": hex32(key.id), "alg": key.algorithm, "use": "sig"}
            for key in self._catalog.service_keys()
        ]

    # -- tokens -----------------------------------------------------------------------------------------

    async def mint(self, organisation_id: OrganisationId, ttl_s: int | None = None) -> tuple[str, int]:
        """Return a token for the organisation, and the milliseconds at which it expires.

        Args:
            ttl_s: its lifetime in seconds; None is the default.

        Raises:
            InvalidRequest: the lifetime is out of bounds.
        """
        limits = self._limits
        lifetime_s = limits.ttl_default_s if ttl_s is None else ttl_s
        if not 1 <= lifetime_s <= limits.ttl_max_s:
            reason = f"must be 1 to {limits.ttl_max_s}"
            raise InvalidRequest(f"ttl_s {reason}", fields=(("ttl_s", reason),))
        key = await self.ensure_key(organisation_id)
        secret = self._vault.open(key.sealed_private_jwk, organisation_id + key.id)
        private = stored_key(key.algorithm, msgspec.json.decode(secret, type=dict[str, Any]))
        issued_s = self._clock.now_ms() // 1000
        claims = {
            "iss": limits.issuer,
            "aud": limits.audience,
            "sub": prefixed("org", organisation_id),
            "iat": issued_s,
            "exp": issued_s + lifetime_s,
        }
        body = msgspec.json.encode(claims)
        token = self._jws.encode(body, private, algorithm=key.algorithm, headers={"kid": hex32(key.id)})
        return token, (issued_s + lifetime_s) * 1000

    async def check(self, token: str) -> OrganisationId:
        """Return the organisation that a token speaks for.

        A token of a service key names it as ``kid`` and the key's organisation as ``sub``. Any other token names an
        organisation as ``sub``, and as ``kid`` a key of the set at that organisation's ``jwks_url``.

        Raises:
            NotAuthenticated: it is not a good one; the reason is told only of a token whose signature holds.
        """
        header, claims = parse(token, self._limits.token_bytes_max)
        service_key = self._find_service_key(header["kid"])
        jwks_url: str | None = None
        if service_key is not None:
            organisation_id = service_key.organisation_id
            key = self._verifying_key(service_key)
        else:
            organisation_id, jwks_url = self._trusting(claims.get("sub"))
            key = await self._external.find(jwks_url, header["kid"])
        if key is None or header.get("alg") != key.algorithm:
            raise refusal()
        try:
            self._jws.decode_complete(token, key.key, algorithms=[key.algorithm])
        except (jwt.PyJWTError, ValueError):
            raise refusal() from None
        check_claims(
            claims,
            now_s=self._clock.now_ms() / 1000,
            subject=prefixed("org", organisation_id),
            jwks_url=jwks_url,
            limits=self._limits,
        )
        return organisation_id

    def _find_service_key(self, kid: str) -> ServiceKey | None:
        key_id = parse_hex32(kid)
        return None if key_id is None else self._catalog.find_service_key(KeyId(key_id))

    def _verifying_key(self, service_key: ServiceKey) -> VerifyingKey | None:
        known = self._verifying.get(service_key.id)
        if known is None or known[0] is not service_key:
            key = verifying_key({**public_members(service_key.public_jwk), "alg": service_key.algorithm})
            known = self._verifying[service_key.id] = (service_key, key)
        return known[1]

    def _trusting(self, subject: Any) -> tuple[OrganisationId, str]:
        """Return the organisation that a token of an unknown key names, and the URL of its key set.

        Nothing is verified yet. The subject only chooses the set that has to verify the token, and that is the named
        organisation's own: its keys can speak for no other.
        """
        named = parse_prefixed("org", subject) if isinstance(subject, str) else None
        if named is None:
            raise refusal()
        try:
            organisation = self._catalog.organisation(OrganisationId(named))
        except NotFound:
            raise refusal() from None
        if not organisation.jwks_url:
            raise refusal()
        return organisation.id, organisation.jwks_url
