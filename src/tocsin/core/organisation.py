"""The tenant, its API keys, the key pair that signs its Native Frame tokens, and the mark of the sealing key."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.core.event import Environment
from tocsin.core.identifiers import DEFAULT_ORGANISATION, ChannelId, KeyId, OrganisationId
from tocsin.core.quota import Plan


class Scope(StrEnum):
    """What a key may do."""

    INGEST = "ingest"
    """Store events, and Buildable's init, transact and update."""
    READ = "read"
    """Every GET, and Buildable's queries."""
    MANAGE = "manage"
    """Everything else."""
    OPERATOR = "operator"
    """Make and list organisations; no route grants it."""


GRANTABLE_SCOPES = frozenset({Scope.INGEST, Scope.READ, Scope.MANAGE})


def key_digest(key: str) -> bytes:
    """Return what is stored of a key: SHA-256, which is enough for 256 random bits."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


class Organisation(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant, which owns everything else.

    Attributes:
        jwks_url: an external set of public keys whose tokens are trusted too; None without one.
    """

    id: OrganisationId
    name: str
    created_ms: int
    plan: Plan = Plan.UNLIMITED
    jwks_url: str | None = None
    revision: int = 0

    @property
    def organisation_id(self) -> OrganisationId:
        """Its own id, as every entity has one."""
        return self.id


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key, of which only a digest is kept.

    Attributes:
        digest: SHA-256 of the whole key; it has 256 random bits, so a slow hash would add nothing.
        hint: the key's first characters, for a person to tell keys apart.
    """

    id: KeyId
    organisation_id: OrganisationId
    name: str
    digest: bytes
    hint: str
    created_ms: int
    environment: Environment = Environment.LIVE
    scopes: frozenset[Scope] = GRANTABLE_SCOPES
    revision: int = 0


class ServiceKey(msgspec.Struct, frozen=True, kw_only=True):
    """The key pair that signs and checks an organisation's Native Frame tokens.

    Attributes:
        id: also the JWK's ``kid``, as 32 hex digits.
        algorithm: the one algorithm it serves: EdDSA, ES256 or RS256.
        public_jwk: the public half (RFC 7517).
        sealed_private_jwk: the private half as sealed JSON.
    """

    id: KeyId
    organisation_id: OrganisationId
    algorithm: str
    public_jwk: dict[str, Any]
    sealed_private_jwk: bytes
    created_ms: int
    revision: int = 0


KEY_MARK_ID = KeyId(bytes(16))
"""Of the one mark that an installation has."""


class KeyMark(msgspec.Struct, frozen=True, kw_only=True):
    """Which key the installation seals its secrets with.

    Attributes:
        digest: tells the key from others and does not lead back to it.
    """

    digest: bytes
    id: KeyId = KEY_MARK_ID
    organisation_id: OrganisationId = DEFAULT_ORGANISATION
    revision: int = 0


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """PushGo's named stream, an event source.

    Attributes:
        password_hash: argon2id, in PHC form.
    """

    id: ChannelId
    organisation_id: OrganisationId
    name: str
    password_hash: str
    created_ms: int
    revision: int = 0


class Category(msgspec.Struct, frozen=True, kw_only=True):
    """PingPilot's kind of event, and how it looks.

    Attributes:
        color: 0 to 0xFFFFFF.
        emoji: one grapheme; None shows the default.
    """

    id: KeyId
    organisation_id: OrganisationId
    name: str
    color: int
    created_ms: int
    emoji: str | None = None
    revision: int = 0
