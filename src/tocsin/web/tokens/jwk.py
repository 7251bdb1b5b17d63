"""Keys in JSON: which ones may verify a token, and how they are made."""

from __future__ import annotations

from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tocsin.core.errors import InvalidRequest
from tocsin.web.tokens.rsa_keys import RSA_BITS, RSA_PRIVATE_BITS_MAX, find_rsa_numbers

EDDSA = "EdDSA"
ES256 = "ES256"
RS256 = "RS256"
ALGORITHMS = (EDDSA, ES256, RS256)
"""What may sign tokens here; the first is the usual one."""

RSA_BITS_MAX = 8192
"""The largest RSA key that verifies; to check a signature of a larger one costs milliseconds."""

_ALGORITHM_OF = {("OKP", "Ed25519"): EDDSA, ("EC", "P-256"): ES256, ("RSA", None): RS256}
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e")
# What building a key from members of the wrong type or size raises, in PyJWT and in cryptography.
_UNUSABLE = (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError)

PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class VerifyingKey(msgspec.Struct, frozen=True):
    """A public key, and the one algorithm that it serves."""

    algorithm: str
    key: PublicKey


def verifying_key(jwk: dict[str, Any]) -> VerifyingKey | None:
    """Return the public half of a JWK, or None where it is no key for checking signatures here.

    The algorithm follows from the kind of key, never from a token; a symmetric key has none.

    Source: RFC 7517, section 4.
    """
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _ALGORITHM_OF.get((kind, curve))
    operations = jwk.get("key_ops", ["verify"])
    if (
        algorithm is None
        or jwk.get("alg", algorithm) != algorithm
        or jwk.get("use", "sig") != "sig"
        or not (isinstance(operations, list) and "verify" in operations)
    ):
        return None
    try:
        key = _from_jwk(algorithm, public_members(jwk))
    except _UNUSABLE:
        return None
    if isinstance(key, rsa.RSAPublicKey) and not RSA_BITS <= key.key_size <= RSA_BITS_MAX:
        return None
    return VerifyingKey(algorithm, key)


def public_members(jwk: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a JWK that make up its public half, and nothing else of it."""
    return {name: jwk[name] for name in _PUBLIC_MEMBERS if name in jwk}


def public_jwk(algorithm: str, key: PrivateKey) -> dict[str, Any]:
    """Return the public half of a key pair as a JWK."""
    return public_members(_to_jwk(algorithm, key.public_key()))


def private_jwk(algorithm: str, key: PrivateKey) -> dict[str, Any]:
    """Return a key pair as a JWK; a secret."""
    return _to_jwk(algorithm, key)


def signing_key(algorithm: str, jwk: dict[str, Any]) -> PrivateKey:
    """Return the key pair that a JWK of anybody's holds; one for RS256 takes up to a quarter of a second of work.

    Raises:
        InvalidRequest: it holds none for this algorithm, or one that nobody would verify with.
    """
    try:
        key = _checked(algorithm, jwk) if algorithm in ALGORITHMS else None
    except _UNUSABLE:
        key = None
    if isinstance(key, PrivateKey):
        usable = verifying_key(public_jwk(algorithm, key))
        if usable is not None and usable.algorithm == algorithm:
            return key
    reason = f"must be a private key for {algorithm}"
    if algorithm == RS256:
        reason += f" of {RSA_BITS} to {RSA_PRIVATE_BITS_MAX} bits, with p, q, dp, dq and qi"
    raise InvalidRequest(f"the JWK {reason}", fields=(("private_jwk", reason),))


def stored_key(algorithm: str, jwk: dict[str, Any]) -> PrivateKey:
    """Return the key pair of a JWK that ``private_jwk`` wrote; that its primes are some was checked before.

    To check it again would take a quarter of a second for each token.

    Raises:
        InvalidRequest: an RSA key of more bits than are taken.
    """
    if algorithm != RS256:
        return signing_key(algorithm, jwk)
    numbers = find_rsa_numbers(jwk)
    if numbers is None:
        raise InvalidRequest("the service key is not one that is taken; make another")
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def generate(algorithm: str) -> PrivateKey:
    """Return a new key pair; one for RS256 takes a tenth of a second of work.

    Raises:
        InvalidRequest: no such algorithm here.
    """
    if algorithm == EDDSA:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == ES256:
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == RS256:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    reason = f"must be {EDDSA}, {ES256} or {RS256}"
    raise InvalidRequest(f"algorithm {reason}", fields=(("algorithm", reason),))


def _checked(algorithm: str, jwk: dict[str, Any]) -> Any:
    if algorithm != RS256:
        return _from_jwk(algorithm, jwk)
    numbers = find_rsa_numbers(jwk)
    return None if numbers is None else numbers.private_key()


def _from_jwk(algorithm: str, jwk: dict[str, Any]) -> Any:
    return jwt.get_algorithm_by_name(algorithm).from_jwk(jwk)


def _to_jwk(algorithm: str, key: PublicKey | PrivateKey) -> dict[str, Any]:
    return dict(jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True))
