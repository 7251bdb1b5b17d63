"""Channel passwords: hashed with argon2id, checked off the event loop, one at a time.

A verification costs 20 ms and 19 MiB by design, so that a stolen hash is dear to crack. Two things keep that price
away from honest traffic: a right password is remembered (its proof, never itself), and wrong ones use up a budget.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tocsin.core.clock import Clock
from tocsin.core.errors import RateLimited, Unavailable
from tocsin.core.identifiers import ChannelId
from tocsin.core.organisation import Channel

Name = TypeVar("Name", bound=Hashable)

_CACHE_KEY_BYTES = 32
_IPV6_SITE_BITS = 64


class PasswordLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What checking passwords may cost.

    Attributes:
        memory_kib, passes, lanes: argon2id's m, t and p for new hashes; OWASP's minimum.
        queue_max: checks that wait for the one under way; above it clients are asked to come back.
        cache_entries_max: right passwords remembered at once.
        cache_ttl_s: how long one is remembered after its last use.
        channel_failures_max: wrong passwords for one channel within the window.
        client_failures_max: wrong passwords from one client address within the window.
        failure_window_s: the window.
        budgets_max: channels, and client addresses, whose failures are counted at once.
    """

    memory_kib: int = 19 * 1024
    passes: int = 2
    lanes: int = 1
    queue_max: int = 32
    cache_entries_max: int = 10_000
    cache_ttl_s: float = 600.0
    channel_failures_max: int = 30
    client_failures_max: int = 60
    failure_window_s: float = 60.0
    budgets_max: int = 10_000


class ChannelPasswords:
    """Hashes and checks channel passwords.

    Args:
        clock: its monotonic side measures how long things are remembered.
        entropy: returns that many random bytes; draws the key of the cache.
    """

    def __init__(
        self, *, clock: Clock, entropy: Callable[[int], bytes], limits: PasswordLimits | None = None
    ) -> None:
        self._clock = clock
        self._limits = limits = PasswordLimits() if limits is None else limits
        self._argon2 = PasswordHasher(
            time_cost=limits.passes, memory_cost=limits.memory_kib, parallelism=limits.lanes
        )
        self._cache_key = entropy(_CACHE_KEY_BYTES)
        self._right: OrderedDict[bytes, float] = OrderedDict()
        self._checking: dict[bytes, asyncio.Task[bool]] = {}
        self._waiting = 0
        self._one_at_a_time = asyncio.Semaphore(1)
        self._channel_failures: _Failures[ChannelId] = _Failures(limits.channel_failures_max, limits)
        self._client_failures: _Failures[str] = _Failures(limits.client_failures_max, limits)

    async def hash(self, password: str) -> str:
        """Return the password's argon2id hash in PHC form.

        Raises:
            Unavailable: too many checks wait already.
        """
        self._join_queue()
        try:
            async with self._one_at_a_time:
                return await asyncio.to_thread(self._argon2.hash, password)
        finally:
            self._waiting -= 1

    async def matches(self, channel: Channel, password: str, *, client: str) -> bool:
        """Return whether ``password`` opens the channel.

        A password that was right a while ago is answered from memory, whatever the budgets say: a flood of wrong
        ones does not lock out who knows the right one. Requests that show the same password at the same moment
        share one check.

        Args:
            client: the peer's address.

        Raises:
            RateLimited: ``too_many_attempts``, the channel's or the client's budget of wrong passwords is used up.
            Unavailable: too many checks wait already.
        """
        proof = self._proof(channel, password)
        if self._remembers(proof):
            return True
        running = self._checking.get(proof)
        if running is None:
            address = _budget_address(client)
            self._require_budget(channel.id, address)
            self._join_queue()
            running = asyncio.get_running_loop().create_task(self._check(proof, channel, password, address))
            self._checking[proof] = running
            running.add_done_callback(lambda _: self._checked(proof))
        # Shielded: a client that goes away must not take the answer from those who share it.
        return await asyncio.shield(running)

    async def _check(self, proof: bytes, channel: Channel, password: str, address: str) -> bool:
        async with self._one_at_a_time:
            # Asked again: those ahead in the queue may have used the budget up meanwhile.
            self._require_budget(channel.id, address)
            right = await asyncio.to_thread(self._verify, channel.password_hash, password)
        now_s = self._clock.monotonic_s()
        if right:
            self._right[proof] = now_s + self._limits.cache_ttl_s
            while len(self._right) > self._limits.cache_entries_max:
                self._right.popitem(last=False)
        else:
            self._channel_failures.add(channel.id, now_s)
            self._client_failures.add(address, now_s)
        return right

    def _checked(self, proof: bytes) -> None:
        del self._checking[proof]
        self._waiting -= 1

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except VerifyMismatchError:
            return False

    def _proof(self, channel: Channel, password: str) -> bytes:
        # The stored hash is part of it, so that a changed password makes every proof of the old one worthless.
        text = b"\0".join((channel.id, channel.password_hash.encode(), password.encode("utf-8", "surrogatepass")))
        return hmac.digest(self._cache_key, text, "sha256")

    def _remembers(self, proof: bytes) -> bool:
        expires_s = self._right.get(proof)
        if expires_s is None:
            return False
        now_s = self._clock.monotonic_s()
        if expires_s <= now_s:
            del self._right[proof]
            return False
        # Counted from the last use: an application that keeps sending is never verified again in the middle of
        # somebody else's flood.
        self._right[proof] = now_s + self._limits.cache_ttl_s
        self._right.move_to_end(proof)
        return True

    def _join_queue(self) -> None:
        if self._waiting > self._limits.queue_max:
            raise Unavailable("too many passwords wait to be checked", retry_after_s=1)
        self._waiting += 1

    def _require_budget(self, channel_id: ChannelId, address: str) -> None:
        now_s = self._clock.monotonic_s()
        wait_s = max(self._channel_failures.wait_s(channel_id, now_s), self._client_failures.wait_s(address, now_s))
        if wait_s > 0:
            raise RateLimited("too many wrong passwords", code="too_many_attempts", retry_after_s=wait_s)


class _Failures(Generic[Name]):
    """The latest failures by name, each counted for one window; the names unused for longest are forgotten."""

    def __init__(self, failures_max: int, limits: PasswordLimits) -> None:
        self._failures_max = failures_max
        self._window_s = limits.failure_window_s
        self._names_max = limits.budgets_max
        self._at_s: OrderedDict[Name, deque[float]] = OrderedDict()

    def wait_s(self, name: Name, now_s: float) -> float:
        """Return how long ``name`` must wait; 0 while it has budget left."""
        at_s = self._at_s.get(name)
        if at_s is None or len(at_s) < self._failures_max:
            return 0.0
        return max(0.0, at_s[0] + self._window_s - now_s)

    def add(self, name: Name, now_s: float) -> None:
        """Count one failure; only as many as the budget holds are kept, since the oldest of them decides."""
        self._at_s.setdefault(name, deque(maxlen=self._failures_max)).append(now_s)
        self._at_s.move_to_end(name)
        while len(self._at_s) > self._names_max:
            self._at_s.popitem(last=False)


def _budget_address(client: str) -> str:
    """Return what a client is counted as: its address, in IPv6 its site, of which a person has a whole /64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, _IPV6_SITE_BITS), strict=False))
