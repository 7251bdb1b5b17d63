"""The webhook transport against real receivers: what arrives, what its answer means, and what an operator sees."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
import standardwebhooks
import svix.webhooks

from receivers import Answer
from tocsin.core.delivery import Deferred, Delivered, ErrorClass
from tocsin.core.destination import MASK, Format
from tocsin.core.event import Dialect
from tocsin.transports.outbound import USER_AGENT
from tocsin.transports.protocol import LiveSecret
from webhooks import MESSAGE_ID, NEW, OLD, Sending, run


def verify_with_public_packages(secret: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> None:
    given = {name.lower(): value for name, value in headers}
    assert standardwebhooks.Webhook(secret).verify(body, given) is not None
    svix.webhooks.Webhook(secret).verify(body, given)


def test_an_event_arrives_signed_and_as_the_exchange_shows_it() -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send()
        [received] = sending.receiver.requests
        assert isinstance(outcome, Delivered)
        assert (received.method, received.target, received.body) == ("POST", "/hook", b'{"ok": true}')
        names = [name for name, _ in received.headers]
        assert names[:4] == ["Host", "User-Agent", "Accept", "Content-Type"]
        assert names[4:] == ["webhook-id", "webhook-timestamp", "webhook-signature", "Content-Length"]
        assert received.header("User-Agent") == USER_AGENT
        assert received.header("Content-Type") == "application/json"
        assert received.header("webhook-id") == MESSAGE_ID
        assert received.header("webhook-timestamp") == str(sending.clock.at_ms // 1000)
        verify_with_public_packages(NEW, received.body, received.headers)
        attempt = outcome.attempt
        assert attempt.exchange.request_line == f"POST {sending.receiver.url()}"
        assert attempt.exchange.request_headers == received.headers
        assert (attempt.status_code, attempt.error_class, attempt.error) == (200, None, None)
        assert attempt.started_ms == sending.clock.at_ms
        assert attempt.connect_ms is not None

    run(scenario)


def test_a_retry_has_the_same_id_and_a_new_time() -> None:
    async def scenario(sending: Sending) -> None:
        await sending.send()
        sending.clock.at_ms += 60_000
        await sending.send()
        first, second = sending.receiver.requests
        assert first.header("webhook-id") == second.header("webhook-id") == MESSAGE_ID
        assert int(second.header("webhook-timestamp") or 0) - int(first.header("webhook-timestamp") or 0) == 60
        verify_with_public_packages(NEW, second.body, second.headers)

    run(scenario)


def test_during_a_rotation_both_secrets_verify_and_afterwards_the_new_one_alone() -> None:
    async def scenario(sending: Sending) -> None:
        until_ms = sending.clock.at_ms + 1000
        secrets = (LiveSecret(NEW, None), LiveSecret(OLD, until_ms))
        await sending.send(secrets=secrets, origin=Dialect.PROMPTJANG)
        sending.clock.at_ms = until_ms
        await sending.send(secrets=secrets, origin=Dialect.PROMPTJANG)
        during, after = sending.receiver.requests
        assert len((during.header("webhook-signature") or "").split(" ")) == 2
        for secret in (OLD, NEW):
            verify_with_public_packages(secret, during.body, during.headers)
        verify_with_public_packages(NEW, after.body, after.headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            verify_with_public_packages(OLD, after.body, after.headers)
        for received in (during, after):
            signed = f"{received.header('X-PJ-Timestamp')}.".encode() + received.body
            expected = hmac.new(NEW.encode(), signed, hashlib.sha256).hexdigest()
            assert received.header("X-PJ-Signature") == expected

    run(scenario)


def test_a_destination_without_secrets_gets_no_signature() -> None:
    async def scenario(sending: Sending) -> None:
        await sending.send(secrets=(), origin=Dialect.PROMPTJANG)
        [received] = sending.receiver.requests
        assert received.header("webhook-signature") is None
        assert received.header("X-PJ-Signature") is None
        assert received.header("webhook-id") == received.header("X-PJ-Event-ID") == MESSAGE_ID

    run(scenario)


def test_promptjangs_published_vector_is_what_its_header_holds() -> None:
    async def scenario(sending: Sending) -> None:
        sending.clock.at_ms = 1_700_000_000_999
        await sending.send(
            event={"data": b'{"ok":true}', "extension": {"correlation_id": "c-1"}},
            secrets=(LiveSecret("whsec_fixture", None),),
            origin=Dialect.PROMPTJANG,
        )
        [received] = sending.receiver.requests
        expected = "31a99e5c88be4311395a895ea0d686baf164714d49a52bae17fad334b78db984"
        assert received.header("X-PJ-Signature") == expected
        assert received.header("X-PJ-Timestamp") == "1700000000"
        assert received.header("X-PJ-Event-ID") == MESSAGE_ID
        assert received.header("X-PJ-Event-Type") == "order.created"
        assert received.header("X-PJ-Correlation-ID") == "c-1"
        assert received.header("webhook-signature") is None  # the secret has too few bytes for that

    run(scenario)


def test_only_promptjangs_destinations_get_its_headers() -> None:
    async def scenario(sending: Sending) -> None:
        await sending.send(event={"extension": {"correlation_id": "c-1"}})
        await sending.send(
            event={"type": "a b\r\nX-Evil: 1", "extension": {"correlation_id": "x\r\ny"}},
            origin=Dialect.PROMPTJANG,
            revision=1,
        )
        plain, odd = sending.receiver.requests
        assert not [name for name, _ in plain.headers if name.lower().startswith("x-pj-")]
        assert odd.header("X-PJ-Event-Type") == "a%20b%0D%0AX-Evil:%201"
        assert odd.header("X-PJ-Correlation-ID") == "x%0D%0Ay"
        assert odd.header("X-Evil") is None

    run(scenario)


@pytest.mark.parametrize(
    ("form", "content_type"),
    [
        (Format.RAW, "application/json"),
        (Format.STANDARD, "application/json"),
        (Format.CLOUDEVENTS, "application/cloudevents+json"),
        (Format.CLOUDEVENTS_BINARY, "application/json"),
    ],
)
def test_every_format_is_sent_and_signed(form: Format, content_type: str) -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(format=form)
        [received] = sending.receiver.requests
        assert received.header("Content-Type") == content_type
        verify_with_public_packages(NEW, received.body, received.headers)
        parsed = json.loads(received.body)
        assert (parsed if form in (Format.RAW, Format.CLOUDEVENTS_BINARY) else parsed["data"]) == {"ok": True}
        assert received.header("ce-id") == (MESSAGE_ID if form is Format.CLOUDEVENTS_BINARY else None)
        assert outcome.attempt.exchange.request_headers == received.headers

    run(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "put"])
def test_the_destinations_method_is_used(method: str) -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(address={"url": sending.receiver.url(), "method": method})
        [received] = sending.receiver.requests
        assert (received.method, received.body) == (method.upper(), b'{"ok": true}')
        assert outcome.attempt.exchange.request_line.startswith(f"{method.upper()} http")

    run(scenario)


def test_the_operators_headers_are_sent_and_their_secrets_masked() -> None:
    headers = {
        "Authorization": "Bearer canary-1",
        "X-Api-Key": "canary-2",
        "X-Oddly-Named": "canary-4",
        "X-Empty": "",
        "User-Agent": "mine",
        "content-type": "application/x-mine",
    }

    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(
            Answer(
                200,
                (("X-Echo", "<Bearer canary-1>"), ("Set-Cookie", "s=canary-3")),
                b"got Bearer canary-1, canary-2, bad canary-1",
            )
        )
        outcome = await sending.send(headers=headers)
        [received] = sending.receiver.requests
        for name, value in headers.items():
            assert [v for n, v in received.headers if n.lower() == name.lower()] == [value]
        exchange = outcome.attempt.exchange
        hidden = ("Authorization", "X-Api-Key", "X-Oddly-Named", "X-Empty")
        shown = tuple((n, MASK if n in hidden else v) for n, v in received.headers)
        assert exchange.request_headers == shown
        assert "canary" not in repr(outcome)
        assert exchange.response_body == f"got {MASK}, {MASK}, bad {MASK}".encode()
        assert exchange.response_headers[:2] == (("X-Echo", f"<{MASK}>"), ("Set-Cookie", MASK))

    run(scenario)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "x"),
        ("webhook-id", "x"),
        ("X-PJ-Timestamp", "1"),
        ("Content-Length", "0"),
        ("a b", "x"),
        ("X", "a\r\nY: z"),
    ],
)
def test_a_header_that_may_not_be_sent_fails_the_attempt_before_it_leaves(name: str, value: str) -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(headers={name: value})
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error_class is ErrorClass.INTERNAL
        assert (outcome.attempt.error or "").startswith("one of the destination's headers cannot be sent: ")
        assert sending.receiver.connections == 0

    run(scenario)
