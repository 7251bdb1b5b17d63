"""RSA key pairs in JSON, judged before any arithmetic on their numbers, whose size whoever sends them chooses.

A key without its primes is not taken: to recover them costs powers of numbers of any size, for minutes.

Source: RFC 7518, section 6.3.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

RSA_BITS = 2048
"""Size of the RSA keys made here, and the smallest one taken."""

RSA_PRIVATE_BITS_MAX = 4096
"""The largest RSA key pair taken; one of twice the size takes ten times as long to check and to sign with."""

_E_BITS_MAX = 32
_WHOLE, _HALF = ("n", "d"), ("p", "q", "dp", "dq", "qi")


def find_rsa_numbers(jwk: dict[str, Any]) -> rsa.RSAPrivateNumbers | None:
    """Return the numbers of a key pair of two primes, or None where they are of another size or do not fit together.

    The primes are not proven to be any. The work is bounded whatever stands in the JWK: the length of each member is
    judged before it is read, and its size before it is reckoned with. Primes are half as long as ``n``, as in every
    key that is made in earnest, since a longer one costs more to check.

    Raises:
        ValueError: a member is no base64url.
    """
    bits_of = {"e": _E_BITS_MAX} | dict.fromkeys(_WHOLE, RSA_PRIVATE_BITS_MAX)
    bits_of |= dict.fromkeys(_HALF, RSA_PRIVATE_BITS_MAX // 2)
    texts = {name: jwk.get(name) for name in bits_of}
    if jwk.get("kty") != "RSA" or "oth" in jwk:
        return None
    numbers: dict[str, int] = {}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > _length_max(bits_of[name]):
            return None
        numbers[name] = int.from_bytes(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    n, e, d, p, q = (numbers[name] for name in ("n", "e", "d", "p", "q"))
    bits = n.bit_length()
    if not RSA_BITS <= bits <= RSA_PRIVATE_BITS_MAX or d >= n or e.bit_length() > _E_BITS_MAX:
        return None
    if any(numbers[name].bit_length() > (bits + 1) // 2 for name in _HALF):
        return None
    if p * q != n or any(prime < 3 or e * d % (prime - 1) != 1 for prime in (p, q)):
        return None
    return rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=numbers["dp"],
        dmq1=numbers["dq"],
        iqmp=numbers["qi"],
        public_numbers=rsa.RSAPublicNumbers(e, n),
    )


def _length_max(bits: int) -> int:
    """Return the length of the longest text that is read for so many bits; padding and a leading zero are let be."""
    return -(-(bits // 8 + 1) // 3) * 4
