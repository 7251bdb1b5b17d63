"""Tokens: which are good, and the forged ones, all through the real check."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.core.errors import InvalidRequest, NotAuthenticated
from tocsin.core.identifiers import hex32, prefixed
from tocsin.core.organisation import ServiceKey
from tocsin.web.tokens.claims import parse
from web.token_bench import (
    NOW_S,
    ORGANISATION,
    OTHER,
    SUBJECT,
    Bench,
    Signer,
    claims,
    forge,
    head,
    jwk_of,
    public_half,
    segment,
)

_ATTACKER = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
_ATTACKER_JWK = jwk_of(_ATTACKER.public_key(), "EdDSA", kid="mine")


def _hmac(secret: bytes) -> Signer:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


Forgery = Callable[[ServiceKey, Signer], str]
"""Makes a token out of a good key and what signs with it, which is more than most attackers have."""

FORGERIES: dict[str, Forgery] = {
    "alg none, no signature": lambda key, _: f"{segment(head(key, alg='none'))}.{segment(claims())}.",
    "alg nOnE, any signature": lambda key, sign: forge(head(key, alg="nOnE"), claims(), sign),
    "no alg": lambda key, sign: forge({"kid": hex32(key.id)}, claims(), sign),
    "HS256 keyed with the public JWK": lambda key, _: forge(
        head(key, alg="HS256"), claims(), _hmac(public_half(key))
    ),
    "HS256 keyed with the public key's bytes": lambda key, _: forge(
        head(key, alg="HS256"), claims(), _hmac(str(key.public_jwk["x"]).encode())
    ),
    "HS256 keyed with one byte": lambda key, _: forge(head(key, alg="HS256"), claims(), _hmac(b"k")),
    "RS256 under the id of an EdDSA key": lambda key, sign: forge(head(key, alg="RS256"), claims(), sign),
    "a stranger's key under a good id": lambda key, _: forge(head(key), claims(), _ATTACKER.sign),
    "a stranger's key, embedded as jwk": lambda key, _: forge(head(key, jwk=_ATTACKER_JWK), claims(), _ATTACKER.sign),
    "a stranger's key, pointed to by jku": lambda key, _: forge(
        head(key, kid="mine", jku="https://evil.example/keys"), claims(), _ATTACKER.sign
    ),
    "a stranger's certificate, by x5u and x5c": lambda key, _: forge(
        head(key, x5u="https://evil.example/crt", x5c=["MAo="]), claims(), _ATTACKER.sign
    ),
    "an extension that must be understood": lambda key, sign: forge(head(key, crit=["exp2"], exp2=1), claims(), sign),
    "an unencoded payload": lambda key, sign: forge(head(key, crit=["b64"], b64=False), claims(), sign),
    "an unencoded payload, not said to be critical": lambda key, sign: forge(head(key, b64=False), claims(), sign),
    "a token of another type": lambda key, sign: forge(head(key, typ="logout+jwt"), claims(), sign),
    "no exp": lambda key, sign: forge(head(key), claims(exp=None), sign),
    "exp as text": lambda key, sign: forge(head(key), claims(exp=str(NOW_S + 600)), sign),
    "exp as truth": lambda key, sign: forge(head(key), claims(exp=True), sign),
    "exp as a list": lambda key, sign: forge(head(key), claims(exp=[NOW_S + 600]), sign),
    "exp beyond every date": lambda key, sign: forge(head(key), claims(exp=1e300), sign),
    "exp infinite": lambda key, sign: forge(
        head(key), json.dumps(claims()).replace(str(NOW_S + 600), "1e999").encode(), sign
    ),
    "exp not a number": lambda key, sign: forge(
        head(key), json.dumps(claims()).replace(str(NOW_S + 600), "NaN").encode(), sign
    ),
    "exp in the year 9999": lambda key, sign: forge(head(key), claims(exp=253_402_300_799), sign),
    "exp just beyond the longest lifetime": lambda key, sign: forge(head(key), claims(exp=NOW_S + 86_400 + 6), sign),
    "expired this second": lambda key, sign: forge(head(key), claims(exp=NOW_S), sign),
    "expired long ago": lambda key, sign: forge(head(key), claims(iat=1, exp=2), sign),
    "exp before 1970": lambda key, sign: forge(head(key), claims(exp=-1), sign),
    "no iat": lambda key, sign: forge(head(key), claims(iat=None), sign),
    "iat as text": lambda key, sign: forge(head(key), claims(iat="now"), sign),
    "iat in the future": lambda key, sign: forge(head(key), claims(iat=NOW_S + 60), sign),
    "nbf in the future": lambda key, sign: forge(head(key), claims(nbf=NOW_S + 60), sign),
    "nbf as text": lambda key, sign: forge(head(key), claims(nbf=str(NOW_S)), sign),
    "no aud": lambda key, sign: forge(head(key), claims(aud=None), sign),
    "another aud": lambda key, sign: forge(head(key), claims(aud="tocsin-staging"), sign),
    "several aud, none of them ours": lambda key, sign: forge(head(key), claims(aud=["a", "b"]), sign),
    "aud with a number": lambda key, sign: forge(head(key), claims(aud=["tocsin", 1]), sign),
    "no iss": lambda key, sign: forge(head(key), claims(iss=None), sign),
    "another iss": lambda key, sign: forge(head(key), claims(iss="https://id.example.com"), sign),
    "iss as a list": lambda key, sign: forge(head(key), claims(iss=["tocsin"]), sign),
    "no sub": lambda key, sign: forge(head(key), claims(sub=None), sign),
    "another organisation as sub": lambda key, sign: forge(head(key), claims(sub=prefixed("org", OTHER)), sign),
    "sub in capitals": lambda key, sign: forge(head(key), claims(sub=SUBJECT.upper()), sign),
    "no kid": lambda key, sign: forge({"alg": "EdDSA"}, claims(), sign),
    "kid as a number": lambda key, sign: forge(head(key, kid=1), claims(), sign),
    "kid of nobody": lambda key, sign: forge(head(key, kid="0" * 32), claims(), sign),
    "kid in capitals": lambda key, sign: forge(head(key, kid=hex32(key.id).upper()), claims(), sign),
    "two kids": lambda key, sign: forge(
        json.dumps(head(key)).replace('"typ"', '"kid": "mine", "typ"').encode(), claims(), sign
    ),
    "two subs": lambda key, sign: forge(
        head(key), json.dumps(claims()).replace('"iss"', f'"sub": "{prefixed("org", OTHER)}", "iss"').encode(), sign
    ),
    "claims changed after signing": lambda key, sign: _swapped(forge(head(key), claims(), sign)),
    "no signature": lambda key, sign: forge(head(key), claims(), lambda _: b""),
    "half a signature": lambda key, sign: forge(head(key), claims(), lambda data: sign(data)[:32]),
    "a signature of zeros": lambda key, _: forge(head(key), claims(), lambda _: bytes(64)),
    "more bytes behind the signature": lambda key, sign: forge(head(key), claims(), lambda data: sign(data) + b"x"),
    "padding": lambda key, sign: forge(head(key), claims(), sign) + "==",
    "a fourth segment": lambda key, sign: forge(head(key), claims(), sign) + ".e30",
    "an encrypted token's five": lambda key, sign: forge(head(key), claims(), sign) + ".e30.e30",
    "claims that are no object": lambda key, sign: forge(head(key), [claims()], sign),
    "a header that is no object": lambda key, sign: forge([head(key)], claims(), sign),
    "deep nesting": lambda key, sign: forge(head(key), b"[" * 6000, sign),
    "a number of 5000 digits": lambda key, sign: forge(head(key), b'{"exp":' + b"9" * 5000 + b"}", sign),
    "more than 8 KiB": lambda key, sign: forge(head(key), claims(pad="a" * 8192), sign),
    "white space inside": lambda key, sign: forge(head(key), claims(), sign).replace(".", " .", 1),
    "not ASCII": lambda key, sign: forge(head(key), claims(), sign).replace(".", "é.", 1),
    "nothing": lambda *_: "",
    "two dots": lambda *_: "..",
}


def _swapped(token: str) -> str:
    first, _, last = token.split(".")
    return ".".join((first, segment(claims(sub=SUBJECT, exp=NOW_S + 601)), last))


@pytest.mark.parametrize("forgery", [pytest.param(each, id=name) for name, each in FORGERIES.items()])
def test_a_forged_token_is_refused(forgery: Forgery) -> None:
    async def play() -> None:
        bench = await Bench().open()
        key, sign = await bench.service_key()
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(forgery(key, sign))
        assert bench.remote.asked == 0
        # The control: the same key and signer make a token that passes.
        assert await bench.tokens.check(forge(head(key), claims(), sign)) == ORGANISATION

    asyncio.run(play())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"exp": NOW_S + 1},
        {"exp": NOW_S + 86_400 + 5},
        {"exp": NOW_S + 0.5},
        {"iat": NOW_S + 5, "nbf": NOW_S + 5},
        {"iat": 0},
        {"aud": ["other", "tocsin"]},
        {"roles": ["further claims do not count"]},
    ],
    ids=str,
)
def test_a_token_at_the_edge_of_a_rule_passes(changes: dict[str, Any]) -> None:
    async def play() -> None:
        bench = await Bench().open()
        key, sign = await bench.service_key()
        assert await bench.tokens.check(forge(head(key), claims(**changes), sign)) == ORGANISATION

    asyncio.run(play())


def test_a_token_with_any_one_character_changed_is_refused() -> None:
    async def play() -> None:
        bench = await Bench().open()
        token, _ = await bench.tokens.mint(ORGANISATION)
        for at, character in enumerate(token):
            changed = token[:at] + ("A" if character != "A" else "B") + token[at + 1 :]
            with pytest.raises(NotAuthenticated):
                await bench.tokens.check(changed)

    asyncio.run(play())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
@settings(max_examples=200, deadline=None)
def test_reading_a_token_raises_nothing_but_a_refusal(token: str) -> None:
    with pytest.raises(NotAuthenticated):
        parse(token, 8192)
    with pytest.raises(NotAuthenticated):
        parse(f"{segment(token.encode('utf-8', 'surrogatepass'))}.{segment({})}.AA", 8192)


def test_a_stranger_learns_no_reason_and_the_owner_does() -> None:
    async def play() -> None:
        bench = await Bench().open()
        key, sign = await bench.service_key()
        with pytest.raises(NotAuthenticated, match=r"^the token is not valid$"):
            await bench.tokens.check(forge(head(key), claims(exp=1), _ATTACKER.sign))
        with pytest.raises(NotAuthenticated, match="has expired"):
            await bench.tokens.check(forge(head(key), claims(exp=1), sign))

    asyncio.run(play())


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
def test_a_minted_token_passes_until_it_expires(algorithm: str) -> None:
    async def play() -> None:
        bench = await Bench().open()
        await bench.tokens.add_key(ORGANISATION, algorithm)
        token, expires_ms = await bench.tokens.mint(ORGANISATION, 60)
        assert expires_ms == (NOW_S + 60) * 1000
        assert jwt.get_unverified_header(token)["alg"] == algorithm
        assert await bench.tokens.check(token) == ORGANISATION
        bench.clock.at_s += 59.9
        assert await bench.tokens.check(token) == ORGANISATION
        bench.clock.at_s += 0.1
        with pytest.raises(NotAuthenticated, match="has expired"):
            await bench.tokens.check(token)

    asyncio.run(play())


def test_a_standard_client_verifies_a_token_with_the_published_keys() -> None:
    async def play() -> None:
        bench = await Bench().open()
        for algorithm in ("RS256", "ES256", "EdDSA"):
            await bench.tokens.add_key(OTHER, algorithm)
            token, _ = await bench.tokens.mint(OTHER)
            published = jwt.PyJWKSet.from_dict({"keys": bench.tokens.public_keys()})
            key = published[jwt.get_unverified_header(token)["kid"]]
            found = jwt.decode(
                token, key, audience="tocsin", issuer="tocsin", options={"verify_exp": False, "verify_iat": False}
            )
            assert found["sub"] == prefixed("org", OTHER)

    asyncio.run(play())


def test_the_published_keys_hold_no_private_member() -> None:
    async def play() -> None:
        bench = await Bench().open()
        for algorithm in ("EdDSA", "ES256", "RS256"):
            await bench.tokens.add_key(ORGANISATION, algorithm)
        for jwk, kind in zip(bench.tokens.public_keys(), ({"x", "crv"}, {"x", "y", "crv"}, {"n", "e"}), strict=True):
            assert jwk.keys() == {"kty", "kid", "alg", "use"} | kind

    asyncio.run(play())


def test_a_lifetime_out_of_bounds_is_refused() -> None:
    async def play() -> None:
        bench = await Bench().open()
        for ttl_s in (1, 86_400):
            assert await bench.tokens.check((await bench.tokens.mint(ORGANISATION, ttl_s))[0]) == ORGANISATION
        for ttl_s in (0, -1, 86_401):
            with pytest.raises(InvalidRequest) as caught:
                await bench.tokens.mint(ORGANISATION, ttl_s)
            assert caught.value.fields == (("ttl_s", "must be 1 to 86400"),)

    asyncio.run(play())


def test_many_first_tokens_at_once_share_one_key() -> None:
    async def play() -> None:
        bench = await Bench().open()
        minted = await asyncio.gather(*(bench.tokens.mint(ORGANISATION) for _ in range(20)))
        assert len({jwt.get_unverified_header(token)["kid"] for token, _ in minted}) == 1
        assert len(bench.tokens.public_keys()) == 1

    asyncio.run(play())


def test_a_new_key_signs_and_the_old_one_still_verifies() -> None:
    async def play() -> None:
        bench = await Bench().open()
        old, _ = await bench.tokens.mint(ORGANISATION)
        await bench.tokens.add_key(ORGANISATION)
        new, _ = await bench.tokens.mint(ORGANISATION)
        assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
        assert await bench.tokens.check(old) == await bench.tokens.check(new) == ORGANISATION

    asyncio.run(play())


def test_a_removed_key_verifies_nothing_more() -> None:
    async def play() -> None:
        bench = await Bench().open()
        token, _ = await bench.tokens.mint(ORGANISATION)
        assert await bench.tokens.check(token) == ORGANISATION
        bench.store.removed.append((ServiceKey, bytes.fromhex(jwt.get_unverified_header(token)["kid"])))
        await bench.catalog.refresh()
        with pytest.raises(NotAuthenticated):
            await bench.tokens.check(token)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("algorithm", "imported"),
    [
        pytest.param("HS256", {"kty": "oct", "k": "AA"}, id="a symmetric key"),
        pytest.param("EdDSA", _ATTACKER_JWK, id="a public key alone"),
        pytest.param("EdDSA", {**jwk_of(_ATTACKER, "EdDSA"), "x": "AA"}, id="halves that do not belong together"),
        pytest.param("EdDSA", {}, id="nothing"),
        pytest.param("ES256", jwk_of(_ATTACKER, "EdDSA"), id="a key of another algorithm"),
        pytest.param("ES256", jwk_of(ec.generate_private_key(ec.SECP384R1()), "ES384"), id="another curve"),
        pytest.param("RS256", jwk_of(rsa.generate_private_key(65537, 1024), "RS256"), id="a small RSA key"),
    ],
)
def test_a_key_that_nobody_would_verify_with_is_not_imported(algorithm: str, imported: dict[str, Any]) -> None:
    async def play() -> None:
        bench = await Bench().open()
        with pytest.raises(InvalidRequest):
            await bench.tokens.add_key(ORGANISATION, algorithm, imported)
        assert bench.tokens.public_keys() == []

    asyncio.run(play())


def _rsa_jwk(bits: int = 2048) -> dict[str, Any]:
    return jwk_of(rsa.generate_private_key(65537, bits), "RS256")


_RSA = _rsa_jwk()
_LONG = "x" * 40_000


@pytest.mark.parametrize(
    "imported",
    [
        pytest.param({"kty": "RSA", "n": _LONG, "e": "AQAB", "d": _LONG}, id="no primes, of any size"),
        pytest.param({name: _RSA[name] for name in ("kty", "n", "e", "d")}, id="no primes"),
        *(pytest.param({**_RSA, name: _LONG}, id=f"a long {name}") for name in ("n", "d", "p", "q", "dp", "qi")),
        pytest.param({**_RSA, "e": "_____w8"}, id="e of 40 bits"),
        pytest.param(_rsa_jwk(1024), id="a small one"),
        pytest.param(_rsa_jwk(4104), id="a large one"),
        pytest.param({**_RSA, "d": _rsa_jwk()["d"]}, id="another's d"),
        pytest.param({**_RSA, "p": "AQ"}, id="no factor"),
        pytest.param({**_RSA, "oth": []}, id="more primes"),
        pytest.param({**_RSA, "qi": 1}, id="a number"),
    ],
)
def test_an_rsa_key_of_unfit_numbers_is_refused_before_a_key_is_made_of_them(
    imported: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(jwt.algorithms.RSAAlgorithm, "from_jwk", lambda *_args: made.append("by PyJWT"))
    monkeypatch.setattr(rsa, "RSAPrivateNumbers", lambda **_members: made.append("here"))

    async def play() -> None:
        bench = await Bench().open()
        with pytest.raises(InvalidRequest, match="of 2048 to 4096 bits, with p, q, dp, dq and qi"):
            await bench.tokens.add_key(ORGANISATION, "RS256", imported)
        assert bench.tokens.public_keys() == []

    asyncio.run(play())
    assert made == []


@pytest.mark.parametrize("bits", [2048, 4096])
def test_an_imported_rsa_key_is_checked_once_and_signs(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = _rsa_jwk(bits)
    checked: list[bool] = []
    numbers = type(rsa.generate_private_key(65537, 2048).private_numbers())

    class Counted:
        def __init__(self, **members: Any) -> None:
            self._numbers = numbers(**members)

        def private_key(self, *, unsafe_skip_rsa_key_validation: bool = False) -> rsa.RSAPrivateKey:
            checked.append(not unsafe_skip_rsa_key_validation)
            return self._numbers.private_key(unsafe_skip_rsa_key_validation=unsafe_skip_rsa_key_validation)

    monkeypatch.setattr(rsa, "RSAPrivateNumbers", Counted)

    async def play() -> None:
        bench = await Bench().open()
        await bench.tokens.add_key(ORGANISATION, "RS256", imported)
        for _ in range(3):
            token, _expires_ms = await bench.tokens.mint(ORGANISATION)
            assert await bench.tokens.check(token) == ORGANISATION

    asyncio.run(play())
    assert checked == [True, False, False, False]


def test_an_unknown_algorithm_makes_no_key() -> None:
    async def play() -> None:
        bench = await Bench().open()
        with pytest.raises(InvalidRequest, match="EdDSA, ES256 or RS256"):
            await bench.tokens.add_key(ORGANISATION, "none")

    asyncio.run(play())
