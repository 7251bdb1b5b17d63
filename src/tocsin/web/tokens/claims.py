"""What a token says, read strictly; pure, and nothing in it verifies a signature."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import urlsplit

from tocsin.core.errors import NotAuthenticated
from tocsin.web.tokens.limits import TokenLimits

_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_KID_MAX = 256


def refusal(reason: str = "the token is not valid") -> NotAuthenticated:
    """Return the error for a token; a reason of its own is only for one whose signature holds."""
    return NotAuthenticated(reason, code="invalid_token")


def parse(token: str, bytes_max: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a token in compact form, nothing of it verified.

    The header has a ``kid`` of 1 to 256 characters. Its ``jwk``, ``jku``, ``x5c`` and ``x5u`` are never looked at.

    Raises:
        NotAuthenticated: it has another form, or asks for something that is not done here.

    Source: RFC 7515, sections 4.1 and 7.1.
    """
    segments = token.split(".", 3)
    # Padding is no part of the form, and PyJWT would take it: one token must not have two spellings.
    if len(token) > bytes_max or len(segments) != 3 or not all(segments) or "=" in token:
        raise refusal()
    header, claims = (_json_object(segment) for segment in segments[:2])
    # An extension that must be understood is none of ours, and an unencoded payload (RFC 7797) would be another one
    # than is read here.
    if "crit" in header or "b64" in header:
        raise refusal()
    kind, kid = header.get("typ", "JWT"), header.get("kid")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise refusal()
    if not isinstance(kid, str) or not 1 <= len(kid) <= _KID_MAX:
        raise refusal()
    return header, claims


def check_claims(
    claims: dict[str, Any], *, now_s: float, subject: str, jwks_url: str | None, limits: TokenLimits
) -> None:
    """Return if a token whose signature holds is good now and here.

    Args:
        subject: what ``sub`` must be.
        jwks_url: where its key came from; None for a service key. The issuer may then also be a URL on that origin.

    Raises:
        NotAuthenticated: it is not; says why.
    """
    expires_s, issued_s = _seconds(claims, "exp"), _seconds(claims, "iat")
    if expires_s <= now_s:
        raise refusal("the token has expired")
    if expires_s > now_s + limits.ttl_max_s + limits.leeway_s:
        raise refusal("the token expires too far ahead")
    if issued_s > now_s + limits.leeway_s:
        raise refusal("the token was issued in the future")
    if "nbf" in claims and _seconds(claims, "nbf") > now_s + limits.leeway_s:
        raise refusal("the token is not valid yet")
    if not _is_audience(claims.get("aud"), limits.audience):
        raise refusal("the token is for another audience")
    if not _is_issuer(claims.get("iss"), limits.issuer, jwks_url):
        raise refusal("the token is of another issuer")
    if claims.get("sub") != subject:
        raise refusal("the token's subject is not the organisation of its key")


def _json_object(segment: str) -> dict[str, Any]:
    # Characters outside the alphabet are skipped here, and refused when the signature is checked.
    try:
        text = urlsafe_b64decode(segment + "=" * (-len(segment) % 4)).decode()
        value = json.loads(text, object_pairs_hook=_once_each, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise refusal() from None
    if not isinstance(value, dict):
        raise refusal()
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _seconds(claims: dict[str, Any], name: str) -> float:
    """Return a claim that is a point in time, in seconds since 1970.

    Source: RFC 7519, section 2, NumericDate.
    """
    value = claims.get(name)
    # The bound also keeps out infinity, which a number such as 1e999 becomes.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        raise refusal(f"the token's {name} is missing or not a time")
    return float(value)


def _is_audience(audience: Any, wanted: str) -> bool:
    if isinstance(audience, list):
        return wanted in audience and all(isinstance(each, str) for each in audience)
    return isinstance(audience, str) and audience == wanted


def _is_issuer(issuer: Any, own: str, jwks_url: str | None) -> bool:
    if not isinstance(issuer, str):
        return False
    if issuer == own:
        return True
    origin = None if jwks_url is None else _origin(jwks_url)
    return origin is not None and _origin(issuer) == origin


def _origin(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        standard = {"http": 80, "https": 443}.get(parts.scheme)
        return (
            None if standard is None or not parts.hostname else (parts.scheme, parts.hostname, parts.port or standard)
        )
    except ValueError:
        return None
