"""Tokens of external key sets: whose they are, which keys count, and how often a set is fetched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tocsin.core.errors import NotAuthenticated
from tocsin.core.identifiers import hex32, prefixed
from tocsin.web.tokens import TokenLimits
from tocsin.web.tokens.external import ExternalKeys
from web.token_bench import JWKS_URL, ORGANISATION, TRUSTING, Bench, HandClock, Remote, claims, forge, jwk_of

_EXTERNAL = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
_TRUSTING_SUBJECT = prefixed("org", TRUSTING)


def _jwk(kid: str = "k1", **members: Any) -> dict[str, Any]:
    return jwk_of(_EXTERNAL.public_key(), "EdDSA", kid=kid, **members)


def _token(kid: str = "k1", **changes: Any) -> str:
    whole = {"sub": _TRUSTING_SUBJECT, "iss": "https://id.example.com/", **changes}
    return forge({"alg": "EdDSA", "kid": kid}, claims(**whole), _EXTERNAL.sign)


async def _bench(*keys: dict[str, Any]) -> Bench:
    bench = await Bench().open()
    bench.remote.sets[JWKS_URL] = list(keys)
    return bench


@pytest.mark.parametrize(
    "issuer", ["tocsin", "https://id.example.com", "https://id.example.com:443/realms/a", "https://ID.example.com"]
)
def test_a_token_of_the_trusted_set_speaks_for_its_organisation(issuer: str) -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        assert await bench.tokens.check(_token(iss=issuer)) == TRUSTING

    asyncio.run(play())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sub": prefixed("org", ORGANISATION)}, id="an organisation that trusts no set"),
        pytest.param({"sub": prefixed("org", bytes([8]) * 16)}, id="an organisation that is not there"),
        pytest.param({"sub": None}, id="no subject"),
        pytest.param({"sub": 3}, id="a number as subject"),
        pytest.param({"sub": "auth0|123"}, id="a person as subject"),
        pytest.param({"iss": "https://other.example.com"}, id="an issuer elsewhere"),
        pytest.param({"iss": "http://id.example.com"}, id="an issuer without TLS"),
        pytest.param({"iss": "https://id.example.com:99999"}, id="an issuer that is no URL"),
        pytest.param({"iss": "id.example.com"}, id="an issuer without a scheme"),
        pytest.param({"aud": "another"}, id="another audience"),
        pytest.param({"exp": None}, id="no exp"),
        pytest.param({"exp": 4_000_000_000}, id="exp too far ahead"),
        pytest.param({"kid": "k2"}, id="a key that the set lacks"),
    ],
)
def test_an_external_token_that_breaks_a_rule_is_refused(changes: dict[str, Any]) -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(_token(**changes))
        assert await bench.tokens.check(_token()) == TRUSTING

    asyncio.run(play())


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="an empty set"),
        pytest.param([_jwk(), _jwk()], id="two keys of one id"),
        pytest.param([_jwk(use="enc")], id="a key for encryption"),
        pytest.param([_jwk(alg="ES256")], id="a key said to be for another algorithm"),
        pytest.param([_jwk(key_ops=["sign"])], id="a key not for verifying"),
        pytest.param([_jwk(key_ops="verify")], id="operations that are no list"),
        pytest.param([_jwk(kid="k2")], id="a key of another id"),
        pytest.param([{**_jwk(), "kid": None}], id="a key without an id"),
        pytest.param([{**_jwk(), "x": "AA"}], id="a key of one byte"),
        pytest.param([{**_jwk(), "x": 5}], id="a number in the place of a key"),
        pytest.param([{**_jwk(), "kty": ["OKP"]}], id="a list as the kind of key"),
        pytest.param([{**_jwk(), "crv": "Ed448"}], id="another curve"),
        pytest.param([{"kty": "oct", "kid": "k1", "k": "AA", "alg": "HS256"}], id="a symmetric key"),
        pytest.param(
            [jwk_of(rsa.generate_private_key(65537, 1024).public_key(), "RS256", kid="k1")], id="a small RSA key"
        ),
        pytest.param(
            [{"kty": "RSA", "kid": "k1", "e": "AQAB", "n": "_" * 2000}], id="an RSA key that takes long to check"
        ),
        pytest.param(
            [jwk_of(ec.generate_private_key(ec.SECP256K1()).public_key(), "ES256K", kid="k1")], id="a curve not taken"
        ),
        pytest.param(["k1", None, 3], id="no keys at all"),
    ],
)
def test_a_key_that_is_not_fit_verifies_nothing(keys: list[Any]) -> None:
    async def play() -> None:
        bench = await _bench(*keys)
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(_token())

    asyncio.run(play())


def test_a_private_key_published_by_mistake_counts_as_its_public_half() -> None:
    async def play() -> None:
        bench = await _bench(jwk_of(_EXTERNAL, "EdDSA", kid="k1"))
        assert await bench.tokens.check(_token()) == TRUSTING

    asyncio.run(play())


def test_the_id_of_a_service_key_never_leads_to_an_external_set() -> None:
    async def play() -> None:
        bench = await Bench().open()
        service_key, _ = await bench.service_key()
        kid = hex32(service_key.id)
        bench.remote.sets[JWKS_URL] = [_jwk(kid)]
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(_token(kid))
        assert bench.remote.asked == 0

    asyncio.run(play())


def test_a_set_is_fetched_once_and_again_when_its_time_is_over() -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        for _ in range(3):
            await bench.tokens.check(_token())
        assert bench.remote.asked == 1
        bench.clock.at_s += 299
        await bench.tokens.check(_token(exp=int(bench.clock.at_s) + 60))
        assert bench.remote.asked == 1
        bench.clock.at_s += 1
        await bench.tokens.check(_token(exp=int(bench.clock.at_s) + 60))
        assert bench.remote.asked == 2

    asyncio.run(play())


def test_unknown_ids_fetch_a_set_at_most_once_a_minute() -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        for number in range(50):
            with pytest.raises(NotAuthenticated):
                await bench.tokens.check(_token(f"unknown-{number}"))
        assert bench.remote.asked == 1
        bench.remote.sets[JWKS_URL] = [_jwk("k2")]
        bench.clock.at_s += 60
        assert await bench.tokens.check(_token("k2")) == TRUSTING
        assert bench.remote.asked == 2

    asyncio.run(play())


def test_many_tokens_at_once_wait_for_one_fetch() -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        found = await asyncio.gather(*(bench.tokens.check(_token()) for _ in range(20)))
        assert set(found) == {TRUSTING}
        assert bench.remote.asked == 1

    asyncio.run(play())


class SlowRemote(Remote):
    """Answers only once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer = asyncio.Event()

    async def keys(self, url: str) -> list[dict[str, Any]] | None:
        found = await super().keys(url)
        await self.may_answer.wait()
        return found


async def _settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _find_while_fetching(keys: ExternalKeys, remote: SlowRemote, kids: list[str]) -> list[bool]:
    """Return which ids are found by tokens that come one by one while the set is being fetched."""
    finds = []
    for kid in kids:
        finds.append(asyncio.create_task(keys.find("a", kid)))
        await _settle()
    assert not any(each.done() for each in finds)
    remote.may_answer.set()
    return [found is not None for found in await asyncio.gather(*finds)]


async def _that_know_k1(remote: SlowRemote, clock: HandClock) -> ExternalKeys:
    """Return keys that have fetched a set with k1; the remote answers nothing further for now."""
    remote.sets["a"] = [_jwk()]
    remote.may_answer.set()
    keys = ExternalKeys(source=remote, clock=clock, limits=TokenLimits())
    assert await keys.find("a", "k1") is not None
    remote.may_answer.clear()
    return keys


def test_tokens_that_come_during_the_first_fetch_wait_for_it() -> None:
    async def play() -> None:
        remote = SlowRemote()
        remote.sets["a"] = [_jwk()]
        keys = ExternalKeys(source=remote, clock=HandClock(), limits=TokenLimits())
        assert await _find_while_fetching(keys, remote, ["k1", "k1", "other", "k1"]) == [True, True, False, True]
        assert remote.asked == 1

    asyncio.run(play())


def test_tokens_of_a_new_key_wait_for_its_fetch_and_those_of_a_known_one_do_not() -> None:
    async def play() -> None:
        remote, clock = SlowRemote(), HandClock()
        keys = await _that_know_k1(remote, clock)
        remote.sets["a"] = [_jwk(), _jwk("k2")]
        clock.at_s += 60
        new = [asyncio.create_task(keys.find("a", "k2")) for _ in range(3)]
        await _settle()
        assert await asyncio.wait_for(keys.find("a", "k1"), 1) is not None
        assert not any(each.done() for each in new)
        remote.may_answer.set()
        assert None not in await asyncio.gather(*new)
        assert remote.asked == 2

    asyncio.run(play())


def test_a_key_of_long_ago_does_not_count_while_its_set_is_fetched() -> None:
    async def play() -> None:
        remote, clock = SlowRemote(), HandClock()
        keys = await _that_know_k1(remote, clock)
        remote.sets["a"] = []
        clock.at_s += 3600
        assert await _find_while_fetching(keys, remote, ["k1", "k1"]) == [False, False]

    asyncio.run(play())


def test_a_set_that_fails_is_left_alone_for_a_minute() -> None:
    async def play() -> None:
        bench = await Bench().open()
        for _ in range(3):
            with pytest.raises(NotAuthenticated):
                await bench.tokens.check(_token())
        assert bench.remote.asked == 1
        bench.remote.sets[JWKS_URL] = [_jwk()]
        bench.clock.at_s += 60
        assert await bench.tokens.check(_token()) == TRUSTING

    asyncio.run(play())


def test_known_keys_outlive_an_outage_of_their_url_by_an_hour() -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        await bench.tokens.check(_token())
        bench.remote.sets[JWKS_URL] = None
        bench.clock.at_s += 3599
        assert await bench.tokens.check(_token(exp=int(bench.clock.at_s) + 60)) == TRUSTING
        bench.clock.at_s += 60
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(_token(exp=int(bench.clock.at_s) + 60))

    asyncio.run(play())


def test_a_key_taken_out_of_its_set_verifies_nothing_more() -> None:
    async def play() -> None:
        bench = await _bench(_jwk())
        await bench.tokens.check(_token())
        bench.remote.sets[JWKS_URL] = []
        bench.clock.at_s += 300
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(_token(exp=int(bench.clock.at_s) + 60))

    asyncio.run(play())


def test_the_sets_in_memory_are_bounded() -> None:
    async def play() -> None:
        remote = Remote()
        keys = ExternalKeys(source=remote, clock=HandClock(), limits=TokenLimits(jwks_sets_max=2))
        for url in ("a", "b", "c", "c", "b", "a"):
            assert await keys.find(url, "k1") is None
        assert remote.asked == 4

    asyncio.run(play())


def test_keys_beyond_the_bound_of_a_set_are_not_read() -> None:
    async def play() -> None:
        remote = Remote()
        remote.sets["a"] = [_jwk(f"k{number}") for number in range(1, 102)]
        keys = ExternalKeys(source=remote, clock=HandClock(), limits=TokenLimits())
        assert await keys.find("a", "k100") is not None
        assert await keys.find("a", "k101") is None

    asyncio.run(play())
