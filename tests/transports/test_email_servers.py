"""Mail servers of every kind: broken, hostile, gone and back; connections, TLS and logins."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from structlog.testing import capture_logs

from mail_servers import DROP, HANG, PASSWORD, USER, MailServer, RawServer
from receivers import self_signed, unused_port
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Rejected
from tocsin.transports.smtp.server import Security, parse_smtp_url
from transports.mail_stage import ANN, Sending, against, plain, run

# -- a server that is of no use ----------------------------------------------------------------------------

OPERATORS = {
    "greets with 554": ({b"greeting": b"554 no service"}, ErrorClass.STATUS, 554),
    "greets with 421": ({b"greeting": b"421 too busy"}, ErrorClass.STATUS, 421),
    "refuses EHLO and HELO": ({b"EHLO": b"502 what", b"HELO": b"504 no"}, ErrorClass.STATUS, 504),
    "is no mail server": ({b"greeting": b"HTTP/1.1 400 Bad Request"}, ErrorClass.PROTOCOL, None),
    "drops at EHLO": ({b"EHLO": DROP}, ErrorClass.PROTOCOL, None),
    "says nothing": ({b"greeting": HANG}, ErrorClass.TIMEOUT, None),
    "hangs at EHLO": ({b"EHLO": HANG}, ErrorClass.TIMEOUT, None),
    "refuses the sender": ({b"MAIL": b"553 5.7.1 not yours"}, ErrorClass.STATUS, 553),
    "wants a login": ({b"MAIL": b"530 5.7.0 login first"}, ErrorClass.STATUS, 530),
    "wants a login late": ({b"RCPT": b"530 5.7.0 login first"}, ErrorClass.STATUS, 530),
    "is full": ({b"MAIL": b"452 4.3.1 disk"}, ErrorClass.STATUS, 452),
}


@pytest.mark.parametrize(("replies", "error_class", "code"), OPERATORS.values(), ids=OPERATORS.keys())
def test_what_is_the_operators_uses_up_no_retry(
    replies: dict[bytes, bytes], error_class: ErrorClass, code: int | None
) -> None:
    outcome, _ = against(replies, connect_s=0.3)
    assert isinstance(outcome, Deferred)
    assert (outcome.counted, outcome.retry_after_s) == (False, 60.0)
    assert (outcome.attempt.error_class, outcome.attempt.status_code) == (error_class, code)
    assert outcome.attempt.error


MAILS_OWN = {
    "hangs at RCPT": ({b"RCPT": HANG}, ErrorClass.TIMEOUT, None),
    "drops at RCPT": ({b"RCPT": DROP}, ErrorClass.PROTOCOL, None),
    "leaves at RCPT": ({b"RCPT": b"421 4.3.2 restarting"}, ErrorClass.STATUS, 421),
    "hangs behind the text": ({b".": HANG}, ErrorClass.TIMEOUT, None),
    "drops behind the text": ({b".": DROP}, ErrorClass.PROTOCOL, None),
    "talks nonsense": ({b"RCPT": b"hello"}, ErrorClass.PROTOCOL, -1),
    "talks without end": ({b"RCPT": b"250-x\r\n" * 20_000 + b"250 x"}, ErrorClass.PROTOCOL, -1),
    "goes on where it should end": ({b"DATA": b"250 what"}, ErrorClass.STATUS, 250),
}


@pytest.mark.parametrize(("replies", "error_class", "code"), MAILS_OWN.values(), ids=MAILS_OWN.keys())
def test_what_may_lie_with_the_mail_uses_up_a_retry(
    replies: dict[bytes, bytes], error_class: ErrorClass, code: int | None
) -> None:
    outcome, _ = against(replies, timeout_s=1.0)
    assert isinstance(outcome, Deferred)
    assert outcome.counted
    assert outcome.attempt.error_class is error_class
    assert outcome.attempt.status_code == (code if code != -1 else None)


def test_a_mail_that_is_too_large_is_given_up() -> None:
    outcome, raw = against({b"MAIL": b"552 5.3.4 too large"})
    assert isinstance(outcome, Rejected)
    assert any(b" SIZE=" in each for each in raw.commands)


def test_a_server_of_the_old_kind_gets_seven_bits() -> None:
    outcome, raw = against({b"EHLO": b"500 what", b"HELO": b"250 hi"})
    assert isinstance(outcome, Delivered)
    assert b"MAIL FROM:<tocsin@localhost>" in raw.commands


def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    for url, error_class, said in (
        (f"smtp://127.0.0.1:{unused_port()}", ErrorClass.CONNECT, "Connection refused"),
        ("smtp://no-such-host.invalid", ErrorClass.DNS, "name is not found"),
    ):

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN)
            assert isinstance(outcome, Deferred)
            assert not outcome.counted
            assert outcome.attempt.error_class is error_class  # noqa: B023  runs at once
            assert said in (outcome.attempt.error or "")  # noqa: B023
            # Where the operator's server is, is nothing for tenants.
            assert "127.0.0.1" not in (outcome.attempt.error or "")

        run(url, scenario, smtp_from=USER)


def test_a_server_that_was_stopped_gets_the_mail_when_it_is_back() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            assert isinstance(await sending.send(ANN, delivery=1), Delivered)
            await asyncio.to_thread(server.stop)
            waiting = await sending.send(ANN, delivery=2)
            assert isinstance(waiting, Deferred)
            assert not waiting.counted
            with MailServer(port=server.port) as again:
                assert isinstance(await sending.send(ANN, delivery=2), Delivered)
                assert len(again.mails) == 1

        run(url, scenario)


# -- connections -------------------------------------------------------------------------------------------


def test_connections_are_kept_bounded_and_given_up() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            outcomes = await asyncio.gather(*(sending.send(ANN, delivery=each) for each in range(12)))
            assert {type(each) for each in outcomes} == {Delivered}
            assert {each.attempt.connect_ms for each in outcomes} == {0, None}
            assert server.sessions == sending.connections.idle == 2

        run(url, scenario, connections_max=2)
        assert len(server.mails) == 12


def test_a_connection_is_given_up_after_a_while_and_after_many_mails() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            await sending.send(ANN)
            await sending.send(ANN)
            assert (server.sessions, sending.connections.idle) == (1, 0)
            await sending.send(ANN)
            assert (server.sessions, sending.connections.idle) == (2, 1)
            await asyncio.to_thread(server.wait_for_goodbyes, 2)
            assert sending.connections.idle == 0

        run(url, scenario, mails_max=2, idle_s=0.05)


def test_a_kept_connection_that_the_server_closed_is_no_failed_attempt() -> None:
    with plain() as (server, url):

        async def scenario(sending: Sending) -> None:
            await sending.send(ANN)
            server.hang_up()
            assert isinstance(await sending.send(ANN), Delivered)
            server.say("MAIL", "421 4.4.2 idle for too long")
            outcome = await sending.send(ANN)
            assert isinstance(outcome, Delivered)
            assert outcome.attempt.connect_ms is not None

        run(url, scenario)
        assert (server.sessions, len(server.mails)) == (3, 3)


def test_a_kept_connection_that_died_in_silence_is_replaced() -> None:
    raw = RawServer()

    async def main() -> None:
        async with raw:
            await asyncio.to_thread(run, f"smtp://127.0.0.1:{raw.port}", scenario, check_s=0.2)

    async def scenario(sending: Sending) -> None:
        assert isinstance(await sending.send(ANN), Delivered)
        raw.once[b"MAIL"] = HANG
        assert isinstance(await sending.send(ANN), Delivered)

    asyncio.run(main())
    assert raw.connections == 2


def test_without_a_free_connection_an_attempt_comes_back_soon() -> None:
    raw = RawServer({b"RCPT": HANG})

    async def main() -> None:
        async with raw:
            await asyncio.to_thread(run, f"smtp://127.0.0.1:{raw.port}", scenario, connections_max=1)

    async def scenario(sending: Sending) -> None:
        first = asyncio.ensure_future(sending.send(ANN, delivery=1, timeout_s=2.0))
        await asyncio.to_thread(raw.wait_for, b"RCPT")
        second = await sending.send(ANN, delivery=2, timeout_s=0.2)
        assert isinstance(second, Deferred)
        assert (second.counted, second.retry_after_s) == (False, 1.0)
        assert isinstance(await first, Deferred)

    asyncio.run(main())


def test_what_is_under_way_is_abandoned_at_the_end() -> None:
    raw = RawServer({b"RCPT": HANG})
    began_s = time.monotonic()

    async def main() -> None:
        async with raw:
            await asyncio.to_thread(run, f"smtp://127.0.0.1:{raw.port}", scenario)

    async def scenario(sending: Sending) -> None:
        waiting = asyncio.ensure_future(sending.send(ANN, timeout_s=60.0))
        await asyncio.to_thread(raw.wait_for, b"RCPT")
        await sending.transport.close()
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(main())
    assert time.monotonic() - began_s < 30


# -- TLS and logins ----------------------------------------------------------------------------------------

LOGIN = f"{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@"


def test_a_server_that_says_no_goodbye_keeps_no_connection(tmp_path: Path) -> None:
    context, trusted = self_signed(tmp_path, "localhost")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(30)

    def serve() -> bytes:
        accepted, _ = listener.accept()
        accepted.settimeout(30)
        # Below TLS, for the end: what is read there is no answer to a goodbye.
        with accepted.dup() as below, context.wrap_socket(accepted, server_side=True) as tls:
            below.settimeout(10)
            tls.sendall(b"220 here\r\n")
            with tls.makefile("rb") as lines:
                for reply in (b"250 hello", b"250 sender", b"250 recipient", b"354 go on"):
                    lines.readline()
                    tls.sendall(reply + b"\r\n")
                while lines.readline() != b".\r\n":
                    pass
                tls.sendall(b"250 queued\r\n")
                with contextlib.suppress(ConnectionError):
                    while below.recv(65536):
                        pass
        return b"ended"

    async def scenario(sending: Sending) -> None:
        served = asyncio.ensure_future(asyncio.to_thread(serve))
        assert isinstance(await sending.send(ANN), Delivered)
        await sending.transport.close()
        assert await served == b"ended"

    with listener:
        run(f"smtps://localhost:{listener.getsockname()[1]}", scenario, trusted=trusted)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.IMPLICIT])
def test_tls_and_the_login_come_before_the_mail(security: Security, tmp_path: Path) -> None:
    context, trusted = self_signed(tmp_path, "localhost")
    given: dict[str, Any] = {"starttls" if security is Security.STARTTLS else "tls": context}
    with MailServer(**given, login=True) as server:

        async def scenario(sending: Sending) -> None:
            assert isinstance(await sending.send(ANN), Delivered)

        run(f"{security}://{LOGIN}localhost:{server.port}", scenario, trusted=trusted)
        assert server.mails[0].mail_from == USER
        assert server.logins == 1


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.IMPLICIT])
@pytest.mark.parametrize("name", ["localhost", "elsewhere"])
def test_a_certificate_of_nobody_or_of_another_name_is_refused(security: Security, name: str, tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path, name)
    given: dict[str, Any] = {"starttls" if security is Security.STARTTLS else "tls": context}
    with MailServer(**given, login=True) as server:

        async def scenario(sending: Sending) -> None:
            outcome = await sending.send(ANN)
            assert isinstance(outcome, Deferred)
            assert (outcome.attempt.error_class, outcome.counted) == (ErrorClass.TLS, False)
            assert "certificate is refused" in (outcome.attempt.error or "")

        trusted = certificate if name == "elsewhere" else None
        run(f"{security}://{LOGIN}localhost:{server.port}", scenario, trusted=trusted)
        assert (server.mails, server.logins) == ([], 0)


def test_no_password_goes_to_a_server_without_starttls() -> None:
    async def main() -> None:
        async with RawServer() as raw:
            url = f"smtp+starttls://{LOGIN}127.0.0.1:{raw.port}"
            await asyncio.to_thread(run, url, scenario)
            assert not [each for each in raw.commands if each.startswith((b"AUTH", b"MAIL"))]

    async def scenario(sending: Sending) -> None:
        outcome = await sending.send(ANN)
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error == "the mail server does not offer STARTTLS"
        assert outcome.attempt.error_class is ErrorClass.TLS

    asyncio.run(main())


def test_a_login_that_is_refused_is_not_tried_again_for_a_while() -> None:
    with MailServer(login=True) as server:

        async def scenario(sending: Sending) -> None:
            first = await sending.send(ANN)
            assert isinstance(first, Deferred)
            assert (first.counted, first.attempt.status_code) == (False, 535)
            assert first.attempt.error == "the mail server refuses our login: 535"
            tried = server.logins
            second = await sending.send(ANN)
            assert (second.attempt.error, server.logins) == (first.attempt.error, tried)
            sending.clock.advance_ms(60_000)
            await sending.send(ANN)
            assert server.logins > tried

        run(f"smtp://{quote(USER, safe='')}:wrong@127.0.0.1:{server.port}", scenario)


def test_the_password_is_never_told() -> None:
    echo = b"535 5.7.8 wrong: " + PASSWORD.encode()
    said = PASSWORD.encode()
    cases: list[dict[bytes, bytes]] = [
        {b"EHLO": b"250-here\r\n250 AUTH PLAIN", b"AUTH": echo},
        {b"EHLO": b"250-here\r\n250 AUTH PLAIN", b"AUTH": b"235 ok", b"MAIL": b"550 " + said},
        {b"EHLO": b"250-here\r\n250 AUTH PLAIN", b"AUTH": b"235 ok", b"RCPT": b"550 " + said},
        {b"EHLO": b"250-here\r\n250 AUTH PLAIN", b"AUTH": b"235 ok", b".": b"250 queued " + said},
        {b"EHLO": b"550 " + said, b"HELO": b"550 " + said},
    ]
    with capture_logs() as logs:
        for replies in cases:
            outcome, raw = against(replies, login=LOGIN)
            assert "c4nary" not in repr(outcome)
            assert raw.connections == 1
    assert "c4nary" not in repr(logs)
    assert "c4nary" not in repr(parse_smtp_url(f"smtp://{LOGIN}mail.example.com"))
