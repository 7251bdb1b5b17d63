"""Mail to real servers: what arrives, who is refused, and what an operator sees of it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.core.destination import MASK
from tocsin.core.identifiers import DEFAULT_ORGANISATION, DestinationId
from tocsin.testing.clock import START_MS
from tocsin.transports import email as email_module
from tocsin.transports.messages.mail import WrittenMail, mail_of
from tocsin.transports.unsubscribing import UnsubscribeLinks
from transports.mail_stage import ANN, BOB, CAT, KEY, Sending, against, plain, run

# -- what arrives ------------------------------------------------------------------------------------------


def test_a_mail_arrives_and_the_attempt_tells_what_was_said() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN, BOB)
            assert isinstance(outcome, Delivered)
            attempt = outcome.attempt
            assert attempt.exchange.request_line == (
                f"SMTP MAIL FROM:<tocsin@localhost> RCPT TO:<{ANN}> RCPT TO:<{BOB}>"
            )
            assert attempt.exchange.response_body.decode().split("\n") == [
                "MAIL FROM: 250 OK",
                f"RCPT TO:<{ANN}>: 250 OK",
                f"RCPT TO:<{BOB}>: 250 OK",
                "DATA: 250 2.0.0 queued as 4F2A",
            ]
            assert (attempt.status_code, attempt.error_class, attempt.error) == (250, None, None)
            assert attempt.started_ms == START_MS
            assert attempt.connect_ms == 0
            (arrived,) = server.mails
            assert (arrived.mail_from, arrived.to) == ("tocsin@localhost", (ANN, BOB))
            assert attempt.remote_id == arrived.mail["Message-ID"]
            assert dict(attempt.exchange.request_headers)["Subject"] == arrived.mail["Subject"] == "PingPilot Alert"
            assert "amount: 49.99\n" in arrived.part("plain")
            assert arrived.mail["Date"].datetime.timestamp() * 1000 == START_MS

        run(url, scenario)


def test_dots_and_bytes_beyond_ascii_arrive_as_they_were() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            data = '{"category":"bug","description":".\\n..\\nFrom x\\nüñ\U0001f389 é"}'.encode()
            assert isinstance(await sending.send(ANN, data=data), Delivered)

        run(url, scenario)
        assert server.mails[0].data.isascii()
        assert "  .\n  ..\n  From x\n  üñ\U0001f389 é\n" in server.mails[0].part("plain")


def test_each_address_that_can_unsubscribe_gets_a_copy_of_its_own() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN, BOB)
            assert isinstance(outcome, Delivered)
            shown = dict(outcome.attempt.exchange.request_headers)
            assert shown["List-Unsubscribe"] == f"<https://t.example/unsubscribe/{MASK}>"

        run(url, scenario, public_url="https://t.example")
        assert [each.to for each in server.mails] == [(ANN,), (BOB,)]
        assert server.sessions == 1
        links = UnsubscribeLinks(KEY, "https://t.example")
        for arrived, address in zip(server.mails, (ANN, BOB), strict=True):
            link = links.link(DEFAULT_ORGANISATION, DestinationId(bytes(16)), address)
            assert arrived.mail["To"] == address
            assert arrived.mail["List-Unsubscribe"] == f"<{link}>"
            assert arrived.mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        assert server.mails[0].mail["Message-ID"] == server.mails[1].mail["Message-ID"]


def test_addresses_beyond_ascii_are_written_where_the_server_takes_them() -> None:
    for utf8 in (True, False):
        with plain(utf8=utf8) as (server, url):
            outcomes: list[Outcome] = []

            async def scenario(sending: Sending) -> None:
                outcomes.append(await sending.send(ANN, "jörg@bücher.example"))  # noqa: B023  runs at once

            run(url, scenario)
        assert isinstance(outcomes[0], Delivered)
        assert [each.to for each in server.mails] == ([(ANN,), ("jörg@xn--bcher-kva.example",)] if utf8 else [(ANN,)])


def test_a_mail_is_written_when_it_can_be_sent_and_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[bool, int, int]] = []
    at_once: list[None] = []
    places = 2

    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            def watched(*given: Any, **named: Any) -> WrittenMail:
                at_once.append(None)
                waiting = len(written) - len(server.mails)
                is_loop = threading.current_thread() is threading.main_thread()
                mail = mail_of(*given, **named)
                written.append((is_loop, len(at_once), waiting))
                at_once.pop()
                return mail

            monkeypatch.setattr(email_module, "mail_of", watched)
            outcomes = await asyncio.gather(*(sending.send(ANN, BOB, CAT, delivery=number) for number in range(6)))
            assert all(isinstance(each, Delivered) for each in outcomes)

        run(url, scenario, public_url="https://t.example", connections_max=places)
    assert len(written) == len(server.mails) == 18
    assert not any(is_loop for is_loop, _, _ in written)
    assert {count for _, count, _ in written} == {1}
    assert max(waiting for _, _, waiting in written) < places


def test_a_server_that_nobody_reaches_costs_no_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email_module, "mail_of", None)
    outcome, _ = against({b"greeting": b"554 go away"}, to=(ANN, BOB))
    assert isinstance(outcome, Deferred)
    assert outcome.attempt.error_class is ErrorClass.STATUS
    assert outcome.attempt.exchange.request_headers == ()


# -- refusals ----------------------------------------------------------------------------------------------


def test_who_is_refused_for_now_is_told_later_and_nobody_twice() -> None:
    with plain() as (server, url):
        server.say(f"RCPT {BOB}", "451 4.7.1 greylisted", "250 OK")

        async def scenario(sending: Sending) -> None:
            first = await sending.send(ANN, BOB)
            assert isinstance(first, Deferred)
            assert first.counted
            assert first.attempt.error == f"{BOB}: 451 4.7.1 greylisted; 1 of 2 have it"
            assert (first.attempt.status_code, first.attempt.error_class) == (451, ErrorClass.STATUS)
            assert first.attempt.remote_id is not None
            second = await sending.send(ANN, BOB)
            assert isinstance(second, Delivered)
            assert second.attempt.exchange.request_line.endswith(f"RCPT TO:<{BOB}>")

        run(url, scenario)
        assert [each.to for each in server.mails] == [(ANN,), (BOB,)]
        assert server.mails[0].mail["Message-ID"] == server.mails[1].mail["Message-ID"]


def test_what_is_remembered_of_deliveries_is_bounded() -> None:
    with plain() as (server, url):
        server.say(f"RCPT {BOB}", *["451 later"] * 2)

        async def scenario(sending: Sending) -> None:
            for delivery in (1, 2):
                assert isinstance(await sending.send(ANN, BOB, delivery=delivery), Deferred)
            for delivery in (2, 1):
                assert isinstance(await sending.send(ANN, BOB, delivery=delivery), Delivered)

        run(url, scenario, progress_max=1)
        assert [each.to for each in server.mails] == [(ANN,), (ANN,), (BOB,), (ANN, BOB)]


def test_who_is_refused_for_good_is_told_of_and_not_asked_again() -> None:
    with plain() as (server, url), capture_logs() as logs:
        server.say(f"RCPT {BOB}", "550 5.1.1 no such user")
        server.say(f"RCPT {CAT}", "450 4.2.0 busy")

        async def scenario(sending: Sending) -> None:
            first = await sending.send(ANN, BOB, CAT)
            assert isinstance(first, Deferred)
            assert first.attempt.error == f"{BOB}: 550 5.1.1 no such user; {CAT}: 450 4.2.0 busy; 1 of 3 have it"
            second = await sending.send(ANN, BOB, CAT)
            assert isinstance(second, Delivered)
            assert second.attempt.exchange.request_line.endswith(f"<tocsin@localhost> RCPT TO:<{CAT}>")
            assert second.attempt.error_class is None
            assert second.attempt.error == f"{BOB}: refused before; 2 of 3 have it"

        run(url, scenario)
        assert [each["refused"] for each in logs if each["event"] == "mail_addresses_refused"] == [1]


def test_a_mail_that_one_of_three_refuses_is_delivered_and_says_who() -> None:
    with plain() as (server, url):
        server.say(f"RCPT {BOB}", "550 5.1.1 no such user")

        async def scenario(sending: Sending) -> None:
            told = await sending.send(ANN, BOB, CAT)
            assert isinstance(told, Delivered)
            assert told.attempt.error == f"{BOB}: 550 5.1.1 no such user; 2 of 3 have it"
            again = await sending.send(ANN, BOB, CAT, delivery=1)
            assert isinstance(again, Delivered)
            assert again.attempt.error is None, "another event's mail is offered to all of them"

        run(url, scenario)
        assert [each.to for each in server.mails] == [(ANN, CAT), (ANN, BOB, CAT)]


def test_an_attempt_says_that_its_mail_was_cut() -> None:
    with plain() as (_, url):

        async def scenario(sending: Sending) -> None:
            whole = await sending.send(ANN)
            data = b'{"category":"bug","description":"%s"}' % (b"x" * 20_000)
            cut = await sending.send(ANN, delivery=1, data=data)
            assert isinstance(whole, Delivered)
            assert isinstance(cut, Delivered)
            assert (whole.attempt.shortened, cut.attempt.shortened) == (False, True)

        run(url, scenario)


def test_a_mail_that_nobody_may_have_is_given_up_and_disables_nothing() -> None:
    with plain() as (server, url):
        server.say(f"RCPT {ANN}", "550 5.1.1 no such user")
        server.say(f"RCPT {BOB}", "551 not here")

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN, BOB)
            assert isinstance(outcome, Rejected)
            assert not outcome.disable
            assert outcome.attempt.error == f"{ANN}: 550 5.1.1 no such user; {BOB}: 551 not here"
            assert outcome.attempt.status_code == 551
            assert outcome.attempt.remote_id is None
            # The connection is as good as before.
            assert isinstance(await sending.send(ANN), Delivered)

        run(url, scenario)
        assert (server.sessions, len(server.mails)) == (1, 1)


@pytest.mark.parametrize(
    ("reply", "kind"), [("451 4.3.0 try later", Deferred), ("554 5.7.1 looks like spam", Rejected)]
)
def test_what_is_said_of_the_text_counts_for_all(reply: str, kind: type[Deferred | Rejected]) -> None:
    with plain() as (server, url):
        server.say("DATA", reply)

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN, BOB)
            assert isinstance(outcome, kind)
            assert not isinstance(outcome, Deferred) or outcome.counted
            assert outcome.attempt.error == f"{ANN}: {reply}; {BOB}: {reply}"

        run(url, scenario)


@pytest.mark.parametrize("address", ["", "no-at-sign", "a b@c.example", "=?utf-8?q?a=0D=0ABcc?=@c.example", "a@"])
def test_what_is_no_address_is_never_sent_to(address: str) -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(address)
            assert isinstance(outcome, Rejected)
            assert outcome.attempt.error_class is ErrorClass.ADDRESS_REFUSED
            nobody = await sending.send()
            assert isinstance(nobody, Rejected)
            assert nobody.attempt.error == "there is no address"
            assert isinstance(await sending.send(address, ANN), Delivered)

        run(url, scenario)
        assert [each.to for each in server.mails] == [(ANN,)]
