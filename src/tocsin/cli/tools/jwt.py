"""``tocsin jwt``: a token for Native Frame's routes."""

from __future__ import annotations

import json
import time
from typing import Any

import click

from tocsin.cli.client.session import Session, uses_gateway
from tocsin.cli.client.values import bytes_of
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

_EXAMPLES = """\b
Examples:
  tocsin jwt                                               # the gateway makes one for the key's organisation
  curl -H "Authorization: Bearer $(tocsin jwt --ttl 600)" http://127.0.0.1:8080/events/v2/projects/shop/webhooks
  tocsin jwt --output json                                 # with the time when it expires
  tocsin jwt --key-file service.jwk --kid my-key --sub org_0192...
  tocsin jwt --key-file service.pem --kid my-key --sub org_0192... --aud tocsin --iss https://id.example.com
"""
_TTL_DEFAULT_S = 3600


@click.command("jwt", epilog=_EXAMPLES)
@click.option("--ttl", "ttl_s", type=click.IntRange(1), metavar="S", help="How long it is good.  [default: 3600]")
@click.option("--key-file", metavar="FILE", help="Private key, JWK or PEM, to make it with here; - is stdin.")
@click.option("--kid", metavar="TEXT", help="With --key-file: the key's id.  [default: kid of the JWK]")
@click.option("--sub", metavar="TEXT", help="With --key-file: the organisation.  [default: that of the API key]")
@click.option("--iss", default="tocsin", show_default=True, metavar="TEXT", help="With --key-file: who issues it.")
@click.option("--aud", default="tocsin", show_default=True, metavar="TEXT", help="With --key-file: whom it is for.")
@uses_gateway
def make_token(
    session: Session, ttl_s: int | None, key_file: str | None, kid: str | None, sub: str | None, iss: str, aud: str
) -> None:
    """Make a token for Native Frame's routes, to try things out.

    Prints the token alone, unless --output asks for more.

    Without --key-file the gateway makes it with the organisation's service key. With one it is made here; the gateway
    takes it where the organisation trusts the key, by its JWKS URL.
    """
    if key_file is None:
        body = {} if ttl_s is None else {"ttl_s": ttl_s}
        told = session.api.post("/auth/v1/service-jwt", body)
        session.out.value({"jwt": told["jwt"], "expires_at": told["expiresAt"]}, "jwt")
        return
    key, own_kid = _read_key(bytes_of(key_file))
    issued_s = int(time.time())
    claims = {
        "iss": iss,
        "aud": aud,
        "sub": sub or session.api.get("/api/v1/orgs")["id"],
        "iat": issued_s,
        "exp": issued_s + (ttl_s or _TTL_DEFAULT_S),
    }
    wanted_kid = kid or own_kid
    if wanted_kid is None:
        raise Failure(USAGE, "--kid is missing: the gateway finds the key by it")
    session.out.value({"jwt": _signed(key, claims, wanted_kid), "claims": claims}, "jwt")


def _read_key(raw: bytes) -> tuple[Any, str | None]:
    """Return a private key, and its id where it is a JWK that has one."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415  slow to load
    from jwt import PyJWK, PyJWTError  # noqa: PLC0415

    try:
        if raw.lstrip().startswith(b"{"):
            jwk = json.loads(raw)
            return PyJWK(jwk).key, jwk.get("kid")
        return load_pem_private_key(raw, None), None
    except (ValueError, TypeError, PyJWTError):
        raise Failure(
            USAGE, "--key-file holds no private key, neither as a JWK nor as PEM without a password"
        ) from None


def _signed(key: Any, claims: dict[str, Any], kid: str) -> str:
    import jwt  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    kinds = (
        (ed25519.Ed25519PrivateKey, "EdDSA"),
        (ec.EllipticCurvePrivateKey, "ES256"),
        (rsa.RSAPrivateKey, "RS256"),
    )
    algorithm = next((name for kind, name in kinds if isinstance(key, kind)), None)
    try:
        if algorithm is not None:
            return jwt.encode(claims, key, algorithm, headers={"kid": kid})
    except (ValueError, TypeError, jwt.PyJWTError):
        pass
    raise Failure(USAGE, "the key must be a private Ed25519, P-256 or RSA one: tokens of others are refused")
