"""What the tests of tokens work with: a catalog in memory, clocks moved by hand, and a signer of anything."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, cast

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519

from tocsin.core.identifiers import IdSequence, OrganisationId, hex32, prefixed
from tocsin.core.organisation import Organisation, ServiceKey
from tocsin.engine.protocol import Engine
from tocsin.engine.rows import CatalogDelta, CatalogOp, CatalogResult, Entity, Save
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.vault import Vault
from tocsin.web.tokens import TokenLimits, Tokens

NOW_S = 1_800_000_000
ORGANISATION = OrganisationId(bytes([1]) * 16)
OTHER = OrganisationId(bytes([2]) * 16)
TRUSTING = OrganisationId(bytes([3]) * 16)
JWKS_URL = "https://id.example.com/keys.json"
SUBJECT = prefixed("org", ORGANISATION)


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = float(NOW_S)

    def now_ms(self) -> int:
        return int(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s


class CatalogStore:
    """The part of an engine that a catalog uses."""

    def __init__(self) -> None:
        self._saved: list[Entity] = []
        self.removed: list[tuple[type[Entity], bytes]] = []

    async def catalog_write(self, ops: Sequence[CatalogOp]) -> list[CatalogResult]:
        self._saved += [op.entity for op in ops if isinstance(op, Save)]
        return [CatalogResult.DONE] * len(ops)

    async def catalog_since(self, revision: int) -> CatalogDelta:
        return CatalogDelta(len(self._saved), self._saved[revision:], self.removed)


class Remote:
    """A place of external key sets that counts how often it is asked."""

    def __init__(self) -> None:
        self.sets: dict[str, list[dict[str, Any]] | None] = {}
        self.asked = 0

    async def keys(self, url: str) -> list[dict[str, Any]] | None:
        self.asked += 1
        return self.sets.get(url)


class Bench:
    """An authority over tokens with three organisations, the last of which trusts an external key set."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.remote = Remote()
        self.store = CatalogStore()
        self.catalog = Catalog(cast("Engine", self.store))
        self.tokens = Tokens(
            catalog=self.catalog,
            vault=Vault(bytes(32), lambda size: bytes(each % 256 for each in range(size))),
            clock=self.clock,
            ids=IdSequence(lambda size: bytes(each % 256 for each in range(size))),
            jwks=self.remote,
            limits=TokenLimits(),
        )

    async def open(self) -> Bench:
        urls = {ORGANISATION: None, OTHER: None, TRUSTING: JWKS_URL}
        await self.catalog.save(
            *(Organisation(id=each, name="x", created_ms=0, jwks_url=url) for each, url in urls.items())
        )
        return self

    async def service_key(self, organisation_id: OrganisationId = ORGANISATION) -> tuple[ServiceKey, Signer]:
        """Import a key pair that the test knows too; return it and what signs with it."""
        private = ed25519.Ed25519PrivateKey.generate()
        key = await self.tokens.add_key(organisation_id, "EdDSA", jwk_of(private, "EdDSA"))
        return key, private.sign


Signer = Callable[[bytes], bytes]
"""Returns the signature of these bytes."""


def jwk_of(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:
    """Return any key as a JWK, with further members."""
    return {**jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True), **members}


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token, changed; a claim changed to None is left out."""
    whole = {"iss": "tocsin", "aud": "tocsin", "sub": SUBJECT, "iat": NOW_S, "exp": NOW_S + 600, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def head(key: ServiceKey, **changes: Any) -> dict[str, Any]:
    """Return the header of a good token, changed."""
    return {"alg": key.algorithm, "kid": hex32(key.id), "typ": "JWT", **changes}


def segment(value: Any) -> str:
    """Return one segment of a token; bytes as they are, all else as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: Any, payload: Any, sign: Signer) -> str:
    """Return a token of these parts, signed whatever it says."""
    signed = f"{segment(header)}.{segment(payload)}"
    return f"{signed}.{segment(sign(signed.encode()))}"


def public_half(key: ServiceKey) -> bytes:
    """Return what everybody may know of a key, as an attacker would use it for a secret."""
    return msgspec.json.encode(key.public_jwk)
