"""Key sets that organisations keep elsewhere."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from tocsin.core.clock import Clock
from tocsin.web.tokens.jwk import VerifyingKey, verifying_key
from tocsin.web.tokens.limits import TokenLimits


class JwksSource(Protocol):
    """Fetches external key sets."""

    async def keys(self, url: str) -> list[dict[str, Any]] | None:
        """Return the members of ``keys`` of the JWK Set at ``url``; None when there is no such set to be had.

        Raises nothing for what the remote does, and ends within bounds of its own.

        Source: RFC 7517, section 5.
        """
        ...


class ExternalKeys:
    """Remembers external key sets, so that a flood of tokens fetches each no oftener than once a minute.

    Args:
        source: fetches them.
    """

    def __init__(self, *, source: JwksSource, clock: Clock, limits: TokenLimits) -> None:
        self._source = source
        self._clock = clock
        self._limits = limits
        self._sets: dict[str, _KeySet] = {}

    async def find(self, url: str, kid: str) -> VerifyingKey | None:
        """Return the key of this id in the set at ``url``, or None; fetches the set first when that is due.

        Due is a set whose time is over, and one that lacks the key; but none that was asked for a moment ago. While a
        fetch is under way, who has no key from before waits for its end.
        """
        known = self._sets.get(url)
        if known is None:
            if len(self._sets) >= self._limits.jwks_sets_max:
                del self._sets[next(iter(self._sets))]
            known = self._sets[url] = _KeySet()
        if self._is_due(known, kid) or (known.fetching.locked() and not self._has(known, kid)):
            async with known.fetching:
                if self._is_due(known, kid):
                    await self._fetch(url, known)
        return known.keys.get(kid)

    def _is_due(self, known: _KeySet, kid: str) -> bool:
        now_s = self._clock.monotonic_s()
        if now_s - known.tried_s < self._limits.jwks_pause_s:
            return False
        return kid not in known.keys or now_s - known.fetched_s >= self._limits.jwks_keep_s

    def _has(self, known: _KeySet, kid: str) -> bool:
        """Return whether the key is there, and may count while its set is not to be had."""
        return kid in known.keys and self._clock.monotonic_s() - known.fetched_s < self._limits.jwks_stale_s

    async def _fetch(self, url: str, known: _KeySet) -> None:
        known.tried_s = self._clock.monotonic_s()
        found = await self._source.keys(url)
        if found is not None:
            known.keys = key_set(found[: self._limits.jwks_keys_max])
            known.fetched_s = known.tried_s
        elif known.tried_s - known.fetched_s >= self._limits.jwks_stale_s:
            known.keys = {}


class _KeySet:
    """One external set: its keys by id, when they were fetched, and when that was last tried."""

    __slots__ = ("fetched_s", "fetching", "keys", "tried_s")

    def __init__(self) -> None:
        self.fetching = asyncio.Lock()
        self.keys: dict[str, VerifyingKey] = {}
        self.fetched_s = -math.inf
        self.tried_s = -math.inf


def key_set(members: Sequence[Any]) -> dict[str, VerifyingKey]:
    """Return the usable keys of a set by their id; an id that stands there twice names none."""
    named = [jwk for jwk in members if isinstance(jwk, dict) and isinstance(jwk.get("kid"), str)]
    times = Counter(jwk["kid"] for jwk in named)
    usable = ((jwk["kid"], verifying_key(jwk)) for jwk in named if times[jwk["kid"]] == 1)
    return {kid: key for kid, key in usable if key is not None}
