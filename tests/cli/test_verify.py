"""``tocsin verify``: right signatures by other people's code, and why the wrong ones are wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from cli.commands import Shell
from gateway import Gateway
from tocsin.cli.tools.verification import PROMPTJANG, STANDARD, Signed, judge

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = b'{"order": "ORD-1", "sum": 1.5, "name": "J\xc3\xb6rg"}'
NOW_S = 1_772_793_000
ID = "msg_1"


def standard(body: bytes = BODY, secret: str = SECRET, at_s: int = NOW_S) -> dict[str, str]:
    """Return the headers that the public library makes."""
    signature = Webhook(secret).sign(ID, datetime.fromtimestamp(at_s, UTC), body.decode())
    return {"webhook-id": ID, "webhook-timestamp": str(at_s), "webhook-signature": signature}


def promptjang(body: bytes = BODY, secret: str = SECRET, at_s: int = NOW_S) -> dict[str, str]:
    """Return the headers that the contract describes."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"x-pj-signature": digest, "x-pj-timestamp": str(at_s)}


def faults(
    headers: dict[str, str], body: bytes = BODY, *secrets: str, now_s: int = NOW_S, tolerance_s: int = 300
) -> tuple[str, ...]:
    """Return what is wrong, in the scheme of the headers."""
    scheme = STANDARD if any(name.startswith("webhook-") for name in headers) else PROMPTJANG
    signed = Signed(headers=headers, body=body, secrets=secrets or (SECRET,), now_s=now_s, tolerance_s=tolerance_s)
    return judge(scheme, signed).faults


BOTH = pytest.mark.parametrize("make", [standard, promptjang])


@BOTH
def test_a_right_signature_has_no_fault(make: Any) -> None:
    assert faults(make()) == ()
    assert faults(make(), BODY, OTHER, SECRET) == (), "one of several secrets is enough"
    assert faults(make(b""), b"") == ()


def test_the_published_vector_is_right() -> None:
    headers = {
        "x-pj-signature": "31a99e5c88be4311395a895ea0d686baf164714d49a52bae17fad334b78db984",
        "x-pj-timestamp": "1700000000",
    }
    assert faults(headers, b'{"ok":true}', "whsec_fixture", now_s=1_700_000_000) == ()


def test_one_signature_of_several_is_enough_even_beside_a_broken_one() -> None:
    headers = standard()
    headers["webhook-signature"] = (
        f"v1,broken {standard(secret=OTHER)['webhook-signature']} {headers['webhook-signature']}"
    )
    assert faults(headers) == ()


@BOTH
@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (BODY + b"\n", "a line end was added at its end"),
        (BODY + b"\r\n", "a line end was added at its end"),
        (b"\xef\xbb\xbf" + BODY, "a byte order mark was put before it"),
        (json.dumps(json.loads(BODY), separators=(",", ":")).encode(), "its JSON was decoded and written anew"),
        (json.dumps(json.loads(BODY), indent=2).encode(), "its JSON was decoded and written anew"),
    ],
)
def test_a_changed_body_is_told_with_the_change(make: Any, body: bytes, cause: str) -> None:
    (fault,) = faults(make(), body)
    assert fault.startswith("the body was changed after it was signed: ")
    assert cause in fault


@BOTH
def test_members_that_were_put_in_another_order_are_told(make: Any) -> None:
    (fault,) = faults(make(b'{"a":1,"b":[]}'), b'{"b":[],"a":1}')
    assert "with other spaces, escapes or order" in fault


@BOTH
def test_a_line_end_that_was_lost_is_told(make: Any) -> None:
    (fault,) = faults(make(BODY + b"\n"))
    assert "the line end at its end was taken away" in fault


@BOTH
def test_another_secret_or_another_body_is_told_where_nothing_explains_it(make: Any) -> None:
    for fault in (*faults(make(secret=OTHER)), *faults(make(), b"quite another body")):
        assert fault.startswith("no secret that was given makes this signature")


@BOTH
@pytest.mark.parametrize(
    ("off_s", "said"),
    [(301, "301 s old, and the tolerance is 300 s"), (-301, "301 s in the future, and the tolerance is 300 s")],
)
def test_a_timestamp_outside_the_tolerance_is_told_with_how_much(make: Any, off_s: int, said: str) -> None:
    (fault,) = faults(make(), now_s=NOW_S + off_s)
    assert said in fault
    assert "clock" in fault
    assert faults(make(), now_s=NOW_S + off_s // 301 * 300) == ()
    assert len(faults(make(secret=OTHER), now_s=NOW_S + off_s)) == 2, "both faults are told"


@BOTH
@pytest.mark.parametrize(
    ("timestamp", "said"),
    [("1772793000000", "looks like milliseconds"), ("today", "'today' is malformed"), ("-5", "is malformed")],
)
def test_a_malformed_timestamp_is_told(make: Any, timestamp: str, said: str) -> None:
    headers = make()
    name = next(name for name in headers if name.endswith("timestamp"))
    (fault,) = faults({**headers, name: timestamp})
    assert said in fault


@BOTH
def test_a_missing_header_is_told_by_its_name(make: Any) -> None:
    for missing in make():
        headers = {name: value for name, value in make().items() if name != missing}
        assert faults(headers) == (f"the header {missing} is missing",)


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ("sha256=abc", "is malformed: it must be v1, a comma and base64"),
        ("v1,not base64!", "what follows v1, is broken base64"),
        ("v1,AAAA", "it has 3 bytes, and HMAC-SHA256 has 32"),
        ("v1a,AAAA", "only v1a signatures"),
    ],
)
def test_a_malformed_standard_signature_is_told(signature: str, said: str) -> None:
    (fault,) = faults({**standard(), "webhook-signature": signature})
    assert said in fault


def test_a_malformed_promptjang_signature_is_told() -> None:
    headers = promptjang()
    (fault,) = faults({**headers, "x-pj-signature": headers["x-pj-signature"].upper()})
    assert fault == "x-pj-signature is malformed: it must be 64 lower-case hex digits; in lower case it is right"
    (fault,) = faults({**headers, "x-pj-signature": "AAAA"})
    assert fault == "x-pj-signature is malformed: it must be 64 lower-case hex digits"


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        (SECRET.removeprefix("whsec_"), "the secret has no whsec_ prefix; otherwise the signature is right"),
        (f" {SECRET}", "the secret has white space around it; otherwise the signature is right"),
        (SECRET[:-2], "the secret is broken: what follows whsec_ is not base64"),
        ("whsec_AAAA", "the secret has 3 bytes, and must have 24 to 64"),
    ],
)
def test_a_wrong_form_of_the_secret_is_told(secret: str, said: str) -> None:
    (fault,) = faults(standard(), BODY, secret)
    assert fault.startswith(said)


def test_a_key_that_the_sender_took_otherwise_is_told() -> None:
    signature = hmac.digest(SECRET.encode(), b"%s.%d.%s" % (ID.encode(), NOW_S, BODY), "sha256")
    headers = standard() | {"webhook-signature": "v1," + base64.b64encode(signature).decode()}
    assert "used the whole secret text as the key" in faults(headers)[0]
    without_id = hmac.digest(bytes(range(32)), b"%d.%s" % (NOW_S, BODY), "sha256")
    headers = standard() | {"webhook-signature": "v1," + base64.b64encode(without_id).decode()}
    assert "without the webhook-id" in faults(headers)[0]
    key = hmac.digest(bytes(range(32)), b"%d.%s" % (NOW_S, BODY), "sha256").hex()
    assert "used what is base64 behind whsec_ as the key" in faults(promptjang() | {"x-pj-signature": key})[0]
    alone = hmac.digest(SECRET.encode(), BODY, "sha256").hex()
    assert "signed the body alone" in faults(promptjang() | {"x-pj-signature": alone})[0]
    assert "no whsec_ prefix; with it" in faults(promptjang(), BODY, SECRET.removeprefix("whsec_"))[0]


# -- the command -------------------------------------------------------------------------------------------


@pytest.mark.acceptance
def test_what_the_gateway_sends_verifies_until_it_is_changed(shell: Shell, gateway: Gateway) -> None:
    path = f"/verified/{shell.tenant.key[-8:]}"
    endpoint = shell.tenant.endpoint(gateway.receiver_url + path)
    secret = shell.file("secret", f"{OTHER}\n{endpoint['secret']}\n")
    shell.ok("ingest", endpoint["id"], stdin=BODY, TOCSIN_SIGNING_SECRET=endpoint["secret"])
    (arrival,) = gateway.receiver.wait_for(1, path=path)
    headers = shell.file("headers", "".join(f"{name}: {value}\n" for name, value in arrival.headers.items()))
    body = shell.file("body", arrival.body)

    done = shell.run("verify", "--headers", headers, "--body", body, "--secret-file", secret, "--output", "json")
    assert (done.status, done.err) == (0, "")
    assert [(row["scheme"], row["valid"]) for row in done.json] == [("standard", True), ("promptjang", True)]

    line = shell.refused(
        1,
        "verify",
        "--headers",
        headers,
        "--secret-file",
        secret,
        stdin=arrival.body + b"\n",
        says="standard: the body",
    )
    assert "a line end was added" in line
    later = str(int(time.time()) + 3600)
    shell.refused(
        1, "verify", "--headers", headers, "--body", body, "--secret-file", secret, "--at", later, says=" s old, and"
    )
    one = ("--header", f"X-PJ-Signature: {arrival.headers['x-pj-signature']}")
    shell.refused(1, "verify", *one, "--secret-file", secret, says="the header x-pj-timestamp is missing")


@pytest.mark.acceptance
def test_what_cannot_be_judged_is_told(shell: Shell) -> None:
    shell.refused(1, "verify", says="there is no signature", TOCSIN_SIGNING_SECRET=SECRET)
    shell.refused(2, "verify", "--headers", "-", says="stdin can be only one of", TOCSIN_SIGNING_SECRET=SECRET)
    shell.refused(2, "verify", "-H", "webhook-id: x", says="signing secret missing")
    told = shell.run("verify", "-H", "webhook-id: x", TOCSIN_SIGNING_SECRET=SECRET)
    assert told.json == {
        "scheme": "standard",
        "valid": False,
        "why": "the header webhook-timestamp and webhook-signature is missing",
    }
