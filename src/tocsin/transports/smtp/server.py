"""The mail server that the operator names, and who mails are from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from tocsin.transports.mail_addresses import MailAddress, Sender, find_mail_address, parse_sender


class Security(StrEnum):
    """How a connection is kept from others' eyes; the values are the schemes of URLs."""

    PLAIN = "smtp"
    """Not at all."""
    IMPLICIT = "smtps"
    """TLS from the first byte (RFC 8314)."""
    STARTTLS = "smtp+starttls"
    """TLS before anything is said that matters; a server without it gets nothing (RFC 3207)."""


_PORTS = {Security.PLAIN: 25, Security.IMPLICIT: 465, Security.STARTTLS: 587}


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server, and as whom it is used.

    Attributes:
        user: None where nobody logs in.
    """

    host: str
    port: int
    security: Security
    user: str | None = None
    password: str = field(default="", repr=False)


def parse_smtp_url(url: str) -> SmtpServer:
    """Return the server that a URL names; the settings have checked its form.

    Raises:
        ValueError: its user or password is no UTF-8 once it is decoded.
    """
    parts = urlsplit(url)
    security = Security(parts.scheme)
    return SmtpServer(
        host=parts.hostname or "",
        port=parts.port or _PORTS[security],
        security=security,
        user=unquote(parts.username, errors="strict") if parts.username else None,
        password=unquote(parts.password or "", errors="strict"),
    )


def sender_of(smtp_from: str | None, server: SmtpServer) -> Sender:
    """Return who mails are from: what is set, else the user of the server where that is a mail address.

    A server on this machine is there to try things out with, and gets mails whatever they are from.

    Raises:
        ValueError: it is no mail address, or there is none.
    """
    if smtp_from is not None:
        return parse_sender(smtp_from)
    address = find_mail_address(server.user or "")
    if address is None and _is_here(server.host):
        address = MailAddress("tocsin", "localhost")
    if address is None or not address.is_ascii:
        raise ValueError("must be set, since the user of TOCSIN_SMTP_URL is no mail address that mails could be from")
    return Sender(address)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
