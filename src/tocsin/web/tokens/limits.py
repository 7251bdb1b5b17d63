"""The bounds of tokens."""

from __future__ import annotations

import msgspec


class TokenLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What tokens must say, and their bounds.

    Attributes:
        issuer: ``iss`` of the tokens made here.
        audience: what ``aud`` must be or hold.
        ttl_default_s: lifetime of a token for which none was asked.
        ttl_max_s: the longest lifetime, of external tokens too.
        keys_max: service keys of one organisation.
        leeway_s: how far the clock of whoever issued a token may be ahead; nothing prolongs a token.
        token_bytes_max: a longer token is refused unread.
        jwks_keep_s: how long an external key set counts as fresh.
        jwks_pause_s: the least time between two fetches of one URL, whatever tokens come and however it failed.
        jwks_stale_s: how long keys still count while their URL fails.
        jwks_keys_max: keys read from one set.
        jwks_sets_max: key sets in memory.
    """

    issuer: str = "tocsin"
    audience: str = "tocsin"
    ttl_default_s: int = 3600
    ttl_max_s: int = 86_400
    keys_max: int = 10
    leeway_s: float = 5.0
    token_bytes_max: int = 8192
    jwks_keep_s: float = 300.0
    jwks_pause_s: float = 60.0
    jwks_stale_s: float = 3600.0
    jwks_keys_max: int = 100
    jwks_sets_max: int = 1000
