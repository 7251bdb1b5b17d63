"""Building what sends mail, and the links by which people get no more of it."""

from __future__ import annotations

from tocsin.core.clock import Clock
from tocsin.settings import Settings
from tocsin.transports.email import EmailTransport
from tocsin.transports.smtp.connections import Connections, SmtpLimits
from tocsin.transports.smtp.server import parse_smtp_url, sender_of
from tocsin.transports.unsubscribing import UnsubscribeLinks


def email_transport(settings: Settings, clock: Clock, links: UnsubscribeLinks) -> EmailTransport | None:
    """Return what sends mail, or None where no mail server is set."""
    values = settings.values
    if values.smtp_url is None:
        return None
    limits = settings.limits("smtp", SmtpLimits)
    server = parse_smtp_url(values.smtp_url.get_secret_value())
    return EmailTransport(
        Connections(server, limits=limits, clock=clock),
        sender=sender_of(values.smtp_from, server),
        subject=values.smtp_subject,
        links=links,
        clock=clock,
        limits=limits,
    )


def unsubscribe_links(settings: Settings, key: bytes) -> UnsubscribeLinks:
    """Return what makes and reads these links.

    Args:
        key: the gateway's secret key. Links stop working with it.
    """
    return UnsubscribeLinks(key, settings.values.public_url)
