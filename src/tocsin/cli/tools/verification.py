"""Why a webhook's signature is right or wrong; pure."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tocsin.core.signature import (
    SECRET_BYTES_MAX,
    SECRET_BYTES_MIN,
    SECRET_PREFIX,
    equal,
    sign_promptjang,
    sign_standard,
    standard_key,
)

STANDARD = "standard"
PROMPTJANG = "promptjang"
SCHEMES = {STANDARD: ("webhook-id", "webhook-timestamp", "webhook-signature")} | {
    PROMPTJANG: ("x-pj-signature", "x-pj-timestamp")
}
"""The headers that each scheme needs."""

_DIGEST_BYTES = 32
_SECONDS_DIGITS_MAX = 11


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one scheme's signature.

    Attributes:
        faults: why it is not to be trusted, the weightiest first; empty where it is.
    """

    scheme: str
    faults: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether it is to be trusted."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Signed:
    """What was received.

    Attributes:
        headers: names in lower case.
        now_s: the moment to judge the timestamp by, in seconds since 1970.
        tolerance_s: how far from it the timestamp may be, either way.
    """

    headers: Mapping[str, str]
    body: bytes
    secrets: Sequence[str]
    now_s: int
    tolerance_s: int


def schemes_of(headers: Mapping[str, str]) -> list[str]:
    """Return the schemes of which there is any header."""
    return [scheme for scheme, names in SCHEMES.items() if any(name in headers for name in names)]


def judge(scheme: str, signed: Signed) -> Verdict:
    """Return what is to be said of a scheme's signature.

    Source: Standard Webhooks specification, section "Signature scheme"; for ``promptjang`` its published contract.
    """
    missing = [name for name in SCHEMES[scheme] if not signed.headers.get(name)]
    if missing:
        return Verdict(scheme, (f"the header {' and '.join(missing)} is missing",))
    names = SCHEMES[scheme]
    timestamp = signed.headers[next(name for name in names if name.endswith("timestamp"))]
    malformed = _timestamp_form(timestamp)
    if malformed:
        return Verdict(scheme, (malformed,))
    check = _standard_fault if scheme == STANDARD else _promptjang_fault
    faults = (check(signed, timestamp), _age_fault(int(timestamp), signed))
    return Verdict(scheme, tuple(fault for fault in faults if fault))


def _timestamp_form(text: str) -> str | None:
    if not (text.isascii() and text.isdigit()):
        return f"the timestamp {text!r} is malformed: it must be whole seconds since 1970, in digits"
    if len(text) > _SECONDS_DIGITS_MAX:
        return f"the timestamp {text} is malformed: it looks like milliseconds, and must be seconds since 1970"
    return None


def _age_fault(timestamp_s: int, signed: Signed) -> str | None:
    age_s = signed.now_s - timestamp_s
    if abs(age_s) <= signed.tolerance_s:
        return None
    side = f"{age_s} s old" if age_s > 0 else f"{-age_s} s in the future"
    cause = (
        "it was sent long ago, or a clock is wrong here or there"
        if age_s > 0
        else "the clock is slow here, or fast there"
    )
    return (
        f"the timestamp is {side}, and the tolerance is {signed.tolerance_s} s: {cause}; "
        f"--at judges it as of another moment"
    )


# -- Standard Webhooks -------------------------------------------------------------------------------------


def _standard_fault(signed: Signed, timestamp: str) -> str | None:
    message_id = signed.headers["webhook-id"]
    given = signed.headers["webhook-signature"].split()
    of_version = [each for each in given if each.startswith("v1,")]
    if not of_version:
        return _no_v1(given)
    # A broken one beside a right one does no harm: there is one for each secret during a rotation.
    fault = next((fault for fault in map(_base64_fault, of_version) if fault), None)

    def made_by(key: bytes, body: bytes) -> bool:
        expected = sign_standard(key, message_id, int(timestamp), body)
        return any(equal(each, expected) for each in of_version)

    keys = [key for key in map(standard_key, signed.secrets) if key is not None]
    if any(made_by(key, signed.body) for key in keys):
        return None
    if fault:
        return fault
    for secret in signed.secrets:
        if standard_key(secret) is None:
            return _standard_secret_fault(secret, lambda key: made_by(key, signed.body))
    return _changed_body(signed.body, lambda body: any(made_by(key, body) for key in keys)) or _near_miss(
        [
            (
                "the sender used the whole secret text as the key, not what is base64 behind whsec_",
                lambda: any(made_by(secret.encode(), signed.body) for secret in signed.secrets),
            ),
            (
                "the sender signed timestamp.body without the webhook-id before it",
                lambda: any(_is_without_id(key, timestamp, signed.body, of_version) for key in keys),
            ),
        ]
    )


def _no_v1(given: Sequence[str]) -> str:
    if any(each.startswith("v1a,") for each in given):
        return "webhook-signature has only v1a signatures: these are made with a key pair, and need its public key"
    return "webhook-signature is malformed: it must be v1, a comma and base64, several separated by spaces"


def _base64_fault(signature: str) -> str | None:
    try:
        raw = base64.b64decode(signature[3:], validate=True)
    except (binascii.Error, ValueError):
        return "webhook-signature is malformed: what follows v1, is broken base64"
    if len(raw) != _DIGEST_BYTES:
        return f"webhook-signature is malformed: it has {len(raw)} bytes, and HMAC-SHA256 has {_DIGEST_BYTES}"
    return None


def _standard_secret_fault(secret: str, is_key: Callable[[bytes], bool]) -> str:
    stripped = secret.strip()
    text = stripped.removeprefix(SECRET_PREFIX)
    right = ""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        if is_key(stripped.encode()):
            return "the secret is no whsec_ secret, and the sender used its text as the key: that is another scheme"
        return "the secret is broken: what follows whsec_ is not base64, so a part of it may be cut off"
    if is_key(key):
        right = "; otherwise the signature is right"
    if secret != stripped:
        return f"the secret has white space around it{right}"
    if not secret.startswith(SECRET_PREFIX):
        return f"the secret has no whsec_ prefix{right}"
    return f"the secret has {len(key)} bytes, and must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}{right}"


def _is_without_id(key: bytes, timestamp: str, body: bytes, given: Sequence[str]) -> bool:
    digest = hmac.digest(key, timestamp.encode() + b"." + body, "sha256")
    return any(equal(each, "v1," + base64.b64encode(digest).decode()) for each in given)


# -- PromptJang --------------------------------------------------------------------------------------------


def _promptjang_fault(signed: Signed, timestamp: str) -> str | None:
    given = signed.headers["x-pj-signature"].strip()

    def made_by(secret: str, body: bytes) -> bool:
        return equal(given, sign_promptjang(secret, timestamp, body))

    if any(made_by(secret, signed.body) for secret in signed.secrets):
        return None
    malformed = _hex_fault(given)
    if malformed:
        lower = given.lower()
        right = any(equal(lower, sign_promptjang(secret, timestamp, signed.body)) for secret in signed.secrets)
        return malformed + ("; in lower case it is right" if right else "")
    return _changed_body(
        signed.body, lambda body: any(made_by(secret, body) for secret in signed.secrets)
    ) or _near_miss(
        [
            (
                "the secret has white space around it; otherwise the signature is right",
                lambda: any(made_by(secret.strip(), signed.body) for secret in signed.secrets),
            ),
            (
                "the secret has no whsec_ prefix; with it the signature is right",
                lambda: any(made_by(SECRET_PREFIX + secret, signed.body) for secret in signed.secrets),
            ),
            (
                "the sender used what is base64 behind whsec_ as the key, and not the whole secret text",
                lambda: any(
                    equal(given, hmac.digest(key, timestamp.encode() + b"." + signed.body, "sha256").hex())
                    for key in map(standard_key, signed.secrets)
                    if key is not None
                ),
            ),
            (
                "the sender signed the body alone, without the timestamp before it",
                lambda: any(
                    equal(given, hmac.digest(secret.encode(), signed.body, "sha256").hex())
                    for secret in signed.secrets
                ),
            ),
        ]
    )


def _hex_fault(given: str) -> str | None:
    if len(given) == 2 * _DIGEST_BYTES and all(digit in "0123456789abcdef" for digit in given):
        return None
    return f"x-pj-signature is malformed: it must be {2 * _DIGEST_BYTES} lower-case hex digits"


# -- what both share ---------------------------------------------------------------------------------------


def _changed_body(body: bytes, is_signed: Callable[[bytes], bool]) -> str | None:
    """Return how the body was changed on its way, where one of the usual changes explains the signature."""
    for change, original in _originals(body):
        if original != body and is_signed(original):
            return f"the body was changed after it was signed: {change}; verify the bytes as they came"
    return None


def _originals(body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what the body may have been, and what then happened to it."""
    yield "a line end was added at its end", body.rstrip(b"\r\n")
    yield "a line end was added at its end", body.removesuffix(b"\n")
    yield "the line end at its end was taken away", body + b"\n"
    yield "the line end at its end was taken away", body + b"\r\n"
    yield "line ends were changed", body.replace(b"\r\n", b"\n")
    yield "line ends were changed", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "a byte order mark was put before it", body.removeprefix(b"\xef\xbb\xbf")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    for sort in (False, True):
        for ascii_only in (False, True):
            for indent, separators in ((None, (",", ":")), (None, (", ", ": ")), (2, (",", ": ")), (4, (",", ": "))):
                text = json.dumps(
                    value, ensure_ascii=ascii_only, sort_keys=sort, indent=indent, separators=separators
                ).encode("utf-8", "replace")
                yield "its JSON was decoded and written anew, with other spaces, escapes or order", text
                yield "its JSON was decoded and written anew, with other spaces, escapes or order", text + b"\n"


def _near_miss(misses: Sequence[tuple[str, Callable[[], bool]]]) -> str:
    found = next((text for text, is_so in misses if is_so()), None)
    return found or (
        "no secret that was given makes this signature: it was made with another one (after a rotation?), or the "
        "body is not the one that was signed"
    )
