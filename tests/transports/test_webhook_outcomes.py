"""What a webhook's answer, or the lack of one, means."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from receivers import Answer, hang, unused_port
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.core.destination import Format
from tocsin.core.identifiers import DestinationId
from tocsin.transports.addresses import AddressPolicy
from webhooks import Sending, run


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(Answer(status))
        outcome = await sending.send()
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.status_code == status

    run(scenario)


@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 599]
)
def test_any_other_status_is_deferred(status: int) -> None:
    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(Answer(status, (("Location", sending.receiver.url("/other")),), b"why"))
        outcome = await sending.send()
        assert isinstance(outcome, Deferred)
        assert (outcome.retry_after_s, outcome.counted) == (None, True)
        attempt = outcome.attempt
        assert (attempt.status_code, attempt.error_class) == (status, ErrorClass.STATUS)
        assert attempt.error == f"remote answered {status}"
        assert len(sending.receiver.requests) == 1

    run(scenario)


def test_gone_rejects_and_disables() -> None:
    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(Answer(410, (("Retry-After", "5"),)))
        outcome = await sending.send()
        assert isinstance(outcome, Rejected)
        assert outcome.disable
        assert outcome.attempt.error == "remote answered 410"

    run(scenario)


RETRY_AFTER: list[tuple[str, float | None]] = [
    ("0", 0.0),
    ("120", 120.0),
    (" 7 ", 7.0),
    ("-1", None),
    ("1e300", None),
    ("nan", None),
    ("inf", None),
    ("9" * 20, None),
    ("1_000", None),
    ("\u0663", None),
    ("", None),
    ("soon", None),
    ("Thu, 01 Jan 1970 00:00:00 GMT", None),
    ("Sun, 06 Nov 1994 08:49:37 GMT", None),
]


@pytest.mark.parametrize("status", [429, 503, 500, 302])
def test_retry_after_is_honoured_in_both_forms_and_nonsense_ignored(status: int) -> None:
    async def scenario(sending: Sending) -> None:
        sending.clock.at_ms = sending.clock.at_ms // 1000 * 1000
        later = dt.datetime.fromtimestamp(sending.clock.at_ms / 1000 + 90, dt.UTC)
        table = [*RETRY_AFTER, (later.strftime("%a, %d %b %Y %H:%M:%S GMT"), 90.0)]
        for value, wait_s in table:
            sent = value.encode().decode("latin-1")  # so that the receiver writes UTF-8
            sending.receiver.answers.append(Answer(status, (("retry-AFTER", sent),)))
            outcome = await sending.send()
            assert isinstance(outcome, Deferred)
            assert outcome.retry_after_s == wait_s, value

    run(scenario)


def test_a_success_lacks_nothing_that_the_destination_must_answer() -> None:
    wanted = {"X-Accepted": "yes", "x-version": "2"}

    async def scenario(sending: Sending) -> None:
        answers: list[tuple[tuple[str, str], ...]] = [
            (("x-accepted", "yes"), ("X-Version", "1"), ("X-VERSION", "2")),
            (("X-Accepted", "yes"),),
            (("X-Accepted", "YES"), ("X-Version", "2")),
            (),
        ]
        outcomes = []
        for headers in answers:
            sending.receiver.answers.append(Answer(200, headers))
            outcomes.append(await sending.send(success_headers=wanted))
        assert isinstance(outcomes[0], Delivered)
        for outcome in outcomes[1:]:
            assert isinstance(outcome, Deferred)
            assert (outcome.attempt.status_code, outcome.attempt.error_class) == (200, ErrorClass.RESPONSE_HEADERS)
        assert outcomes[1].attempt.error == "the answer's header x-version is missing or another"
        sending.receiver.answers.append(Answer(500))
        assert (await sending.send(success_headers=wanted)).attempt.error_class is ErrorClass.STATUS

    run(scenario)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://10.0.0.1/hook", "URL is not allowed: private IP address"),
        ("http://localhost/hook", "URL is not allowed: private IP address"),
        ("http://user:canary@example.com/", "URL is not allowed: user name or password"),
        ("ftp://example.com/canary", "URL is not allowed: neither http nor https"),
        ("", "URL is not allowed: neither http nor https"),
    ],
)
def test_a_url_that_is_not_allowed_is_deferred_without_showing_it(url: str, error: str) -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(address={"url": url})
        assert isinstance(outcome, Deferred)
        assert (outcome.attempt.error_class, outcome.attempt.error) == (ErrorClass.ADDRESS_REFUSED, error)
        assert "canary" not in repr(outcome)

    run(scenario, policy=AddressPolicy())


def test_no_answer_is_deferred_with_its_reason() -> None:
    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(hang)
        late = await sending.send(timeout_s=0.2)
        closed = await sending.send(address={"url": f"http://127.0.0.1:{unused_port()}/"}, revision=1)
        for outcome, error_class in ((late, ErrorClass.TIMEOUT), (closed, ErrorClass.CONNECT)):
            assert isinstance(outcome, Deferred)
            assert (outcome.attempt.status_code, outcome.attempt.error_class) == (None, error_class)
            assert outcome.counted

    run(scenario)


def test_an_event_that_cannot_be_written_is_deferred() -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(event={"type": "\ud800"}, format=Format.CLOUDEVENTS_BINARY)
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error == "the event cannot be written: UnicodeEncodeError"
        assert isinstance(await sending.send(format=Format.CLOUDEVENTS_BINARY), Delivered)

    run(scenario)


def test_a_full_client_uses_up_no_retry() -> None:
    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(hang)
        under_way = asyncio.ensure_future(sending.send())
        await sending.receiver.wait_for(1)
        outcome = await sending.send()
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.retry_after_s) == (False, 1.0)
        under_way.cancel()

    run(scenario, connections_max=1)


def test_a_changed_destination_is_sent_to_as_it_now_is() -> None:
    async def scenario(sending: Sending) -> None:
        await sending.send(headers={"X-A": "1"})
        await sending.send(headers={"X-A": "2"}, revision=1)
        await sending.send(headers={"X-A": "3"}, id=DestinationId(bytes(15) + b"x"))
        assert [request.header("X-A") for request in sending.receiver.requests] == ["1", "2", "3"]

    run(scenario)


def test_after_closing_no_outcome_is_told() -> None:
    told: list[Outcome] = []

    async def scenario(sending: Sending) -> None:
        sending.receiver.answers.append(hang)
        sending.transport.start(sending.shipment(), lambda _, outcome: told.append(outcome))
        await sending.receiver.wait_for(1)
        await sending.transport.close()

    run(scenario)
    assert not told


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]"])
def test_the_host_header_is_shown_as_it_was_sent(host: str) -> None:
    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(address={"url": sending.receiver.url("/a?b=c#fragment", host=host)})
        [received] = sending.receiver.requests
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.exchange.request_headers == received.headers
        assert received.target == "/a?b=c"

    run(scenario)
