"""``tocsin jwt``: tokens by the gateway, and by a key of one's own."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.commands import Shell

pytestmark = pytest.mark.acceptance


def test_the_gateways_token_opens_native_frames_routes(shell: Shell) -> None:
    bare = shell.run("jwt")
    assert (bare.status, bare.err, bare.out.count("."), bare.out.count("\n")) == (0, "", 2, 1)
    told = shell.ok("jwt", "--ttl", "600", "--output", "json")
    assert told["expires_at"].endswith("Z")
    answer = shell.tenant.process.request("POST", "/events/v2/projects/shop/events/paid", {}, key=told["jwt"])
    assert answer.status == 202
    shell.refused(8, "jwt", "--ttl", "100000000", says="ttl_s must be 1 to 86400")


def pem(key: Any) -> bytes:
    """Return a private key as PEM."""
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return written


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("RS256", rsa.generate_private_key(65537, 2048)),
    ],
)
def test_a_key_of_ones_own_signs_what_native_frame_wants(shell: Shell, algorithm: str, key: Any) -> None:
    path = shell.file("key.pem", pem(key))
    told = shell.ok(
        "jwt",
        "--key-file",
        path,
        "--kid",
        "k-1",
        "--iss",
        "https://id.example.com",
        "--ttl",
        "60",
        TOCSIN_OUTPUT="json",
    )
    token = told["jwt"]
    assert jwt.get_unverified_header(token) == {"alg": algorithm, "kid": "k-1", "typ": "JWT"}
    claims = jwt.decode(token, key.public_key(), [algorithm], audience="tocsin", issuer="https://id.example.com")
    assert claims == told["claims"]
    assert claims["sub"] == shell.tenant.get("/api/v1/orgs")["id"]
    assert claims["exp"] - claims["iat"] == 60


def test_a_jwk_brings_its_own_id(shell: Shell) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    jwk = jwt.get_algorithm_by_name("EdDSA").to_jwk(key, as_dict=True)
    told = shell.ok(
        "jwt", "--key-file", "-", "--sub", "org_x", "--output", "json", stdin=json.dumps({**jwk, "kid": "mine"})
    )
    assert jwt.get_unverified_header(told["jwt"])["kid"] == "mine"
    assert told["claims"]["sub"] == "org_x"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no key", "--key-file holds no private key"),
        (b'{"kty": "nope"}', "--key-file holds no private key"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "the key must be a private Ed25519, P-256 or RSA one"),
    ],
)
def test_what_is_no_key_is_told(shell: Shell, content: bytes, says: str) -> None:
    path = shell.file("key", content)
    shell.refused(2, "jwt", "--key-file", path, "--kid", "k", "--sub", "org_x", says=says)


def test_a_key_without_an_id_is_told(shell: Shell) -> None:
    path = shell.file("key.pem", pem(ed25519.Ed25519PrivateKey.generate()))
    shell.refused(2, "jwt", "--key-file", path, "--sub", "org_x", says="--kid is missing")
