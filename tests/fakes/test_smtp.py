"""The fake mail server takes mails from real clients, and refuses them as it is told."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import urlsplit

import aiosmtplib
import pytest

from fakes.calls import DEADLINE_S, control
from receivers import self_signed
from tocsin.fakes import Answer, BadScript, Fakes, Smtp


def mail(subject: str = "PingPilot Alert", to: str = "you@example.com") -> EmailMessage:
    """Return a mail of two parts."""
    made = EmailMessage()
    made["Subject"] = subject
    made["From"] = "alerts@example.com"
    made["To"] = to
    made.set_content("🐛 text")
    made.add_alternative("<p>🐛 html</p>", subtype="html")
    return made


@contextmanager
def client(smtp: Smtp) -> Iterator[smtplib.SMTP]:
    """Return a client that is connected."""
    connection = smtplib.SMTP("127.0.0.1", smtp.port, timeout=DEADLINE_S)
    try:
        yield connection
    finally:
        connection.close()


def test_a_mail_is_kept_parsed(fakes: Fakes) -> None:
    with client(fakes.smtp) as sender:
        assert sender.send_message(mail("Grüße 🐛")) == {}
        sender.send_message(mail(), to_addrs=["a@example.com", "b@example.com"])

    first, second = fakes.smtp.mails
    assert (first.subject, first.text, first.html) == ("Grüße 🐛", "🐛 text\n", "<p>🐛 html</p>\n")
    assert (first.sender, first.recipients) == ("alerts@example.com", ("you@example.com",))
    assert second.recipients == ("a@example.com", "b@example.com")
    assert [each.status for each in fakes.smtp.requests] == [250, 250]
    assert urlsplit(fakes.smtp.url).port == fakes.smtp.port


@pytest.mark.parametrize(
    ("script", "kind", "status"),
    [
        (Answer(status=550), smtplib.SMTPRecipientsRefused, 550),
        (Answer(status=451, message="4.7.1 later"), smtplib.SMTPRecipientsRefused, 451),
        (Answer(status=452, stage="mail"), smtplib.SMTPSenderRefused, 452),
        (Answer(status=554, stage="data"), smtplib.SMTPDataError, 554),
        (Answer(status=421), smtplib.SMTPSenderRefused, 421),
    ],
)
def test_a_script_refuses_the_next_mail_alone(fakes: Fakes, script: Answer, kind: type, status: int) -> None:
    fakes.smtp.script(script)
    with client(fakes.smtp) as sender, pytest.raises(kind):
        sender.send_message(mail())
    with client(fakes.smtp) as sender:
        sender.send_message(mail())

    assert [each.status for each in fakes.smtp.requests] == [status, 250]
    assert len(fakes.smtp.mails) == 1


def test_a_single_recipient_is_refused(fakes: Fakes) -> None:
    fakes.smtp.script(Answer(status=550, recipient="b@example.com"))
    with client(fakes.smtp) as sender:
        refused = sender.send_message(mail(), to_addrs=["a@example.com", "b@example.com"])

    assert refused == {"b@example.com": (550, b"5.1.1 No such user here")}
    assert fakes.smtp.mails[0].recipients == ("a@example.com",)


def test_a_scripted_recipient_is_waited_for(fakes: Fakes) -> None:
    fakes.smtp.script(
        Answer(status=550, recipient="b@example.com"),
        Answer(status=452, stage="mail"),
        Answer(status=451, recipient="b@example.com"),
    )
    with client(fakes.smtp) as sender:
        with pytest.raises(smtplib.SMTPSenderRefused):
            sender.send_message(mail(), to_addrs=["a@example.com"])
        assert sender.send_message(mail(), to_addrs=["a@example.com"]) == {}
        codes = [
            sender.send_message(mail(), to_addrs=["a@example.com", "b@example.com"])["b@example.com"][0]
            for _ in range(2)
        ]
        assert codes == [550, 451]
        assert sender.send_message(mail(), to_addrs=["b@example.com"]) == {}


def test_421_ends_the_connection(fakes: Fakes) -> None:
    fakes.smtp.script(Answer(status=421))
    with client(fakes.smtp) as sender:
        sender.ehlo()
        assert sender.mail("a@example.com") == (421, b"4.3.2 Service shutting down")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            sender.noop()


def test_a_connection_is_cut_off_and_a_port_is_left_and_taken_again(fakes: Fakes) -> None:
    page = fakes.page.url
    assert control(page, "smtp", {"answers": [{"down": True}]}).json["scripted"] == 1
    with client(fakes.smtp) as sender, pytest.raises(smtplib.SMTPServerDisconnected):
        sender.send_message(mail())
    assert control(page, "smtp", {"listening": False}).json["listening"] is False
    with pytest.raises(ConnectionRefusedError), client(fakes.smtp):
        pass
    control(page, "smtp", {"listening": True})
    with client(fakes.smtp) as sender:
        sender.send_message(mail())

    assert len(fakes.smtp.mails) == 1


def run_login(server: ssl.SSLContext, trusted: ssl.SSLContext, *, implicit: bool) -> None:
    """Send with a wrong password, without any, and with the right one; over TLS each time."""

    async def main() -> None:
        async with (
            asyncio.timeout(DEADLINE_S),
            Smtp(tls=server, implicit_tls=implicit, login=("me", "s3cret")) as smtp,
        ):

            async def send(username: str | None = None, password: str | None = None) -> None:
                await aiosmtplib.send(
                    mail(),
                    hostname="127.0.0.1",
                    port=smtp.port,
                    tls_context=trusted,
                    use_tls=implicit,
                    start_tls=None if implicit else True,
                    username=username,
                    password=password,
                )

            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await send(username="me", password="wrong")
            with pytest.raises(aiosmtplib.SMTPSenderRefused) as refused:
                await send()
            assert refused.value.code == 530
            await send(username="me", password="s3cret")
            assert [(each.secure, each.user) for each in smtp.mails] == [(True, "me")]

    asyncio.run(main())


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
def test_a_login_over_tls(tmp_path: Path, implicit: bool) -> None:
    server, certificate = self_signed(tmp_path, "localhost")
    trusted = ssl.create_default_context(cafile=certificate)
    trusted.check_hostname = False
    run_login(server, trusted, implicit=implicit)


def test_a_header_that_means_harm_is_shown_as_it_is(fakes: Fakes) -> None:
    raw = b"From: =?utf-8?q?a?= <a@example.com\r\nSubject: \xff\xfe =?x?y?z?=\r\nTo: ;;;<<>>\r\nDate: 99\r\n\r\nx\r\n"
    with client(fakes.smtp) as sender:
        sender.sendmail("a@example.com", "b@example.com", raw)

    kept = fakes.smtp.mails[0]
    assert all(isinstance(kept.header(name), str) for name in ("From", "Subject", "To", "Date", "Absent"))
    assert kept.text == "x\n"


@pytest.mark.parametrize(
    "members",
    [
        {"status": 200},
        {"status": 600},
        {"delay_s": -1.0},
        {"retry_after": 1e9},
        {"stage": "quit"},
        {"message": "a\r\nb"},
    ],
)
def test_a_script_that_cannot_be_followed_is_refused(members: dict[str, object]) -> None:
    with pytest.raises(BadScript):
        Answer(**members)  # type: ignore[arg-type]
