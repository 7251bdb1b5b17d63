"""Building what finds people's chats, what shows them samples, and what tells them by Apprise."""

from __future__ import annotations

import os

from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.core.identifiers import IdSequence
from tocsin.engine.protocol import Engine
from tocsin.pipeline.account import Accounts, Categories
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.previews import Previews
from tocsin.pipeline.telegram_binding import TelegramLinkLimits, TelegramLinks
from tocsin.pipeline.telling import Telling
from tocsin.pipeline.vault import Vault
from tocsin.settings import Settings, SettingsFault
from tocsin.transports import outbound, protocol
from tocsin.transports.apprise_services import AppriseLimits, Services
from tocsin.transports.mail_addresses import MailAddress, Sender
from tocsin.transports.smtp.server import parse_smtp_url, sender_of
from tocsin.transports.telegram_api import TelegramBots
from tocsin.transports.unsubscribing import UNSUBSCRIBE_PATH

_NO_SENDER = Sender(MailAddress("tocsin", "localhost"))
"""Who the sample of a mail is from where no mail server is set."""


def telegram_links(
    settings: Settings, clock: Clock, catalog: Catalog, vault: Vault, client: outbound.Sends
) -> TelegramLinks:
    """Return what connects chats; it is to be closed."""
    return TelegramLinks(
        catalog=catalog,
        vault=vault,
        bots=TelegramBots(client, settings.values.telegram_api_base),
        clock=clock,
        entropy=os.urandom,
        limits=settings.limits("telegram_link", TelegramLinkLimits),
    )


def previews(
    settings: Settings, clock: Clock, ids: IdSequence, accounts: Accounts, categories: Categories
) -> Previews:
    """Return what renders samples."""
    url, public_url = settings.values.smtp_url, settings.values.public_url
    sender = _NO_SENDER
    if url is not None:
        sender = sender_of(settings.values.smtp_from, parse_smtp_url(url.get_secret_value()))
    return Previews(
        accounts=accounts,
        categories=categories,
        clock=clock,
        ids=ids,
        sender=sender,
        subject=settings.values.smtp_subject,
        unsubscribe=None if public_url is None else f"{public_url}{UNSUBSCRIBE_PATH}sample",
    )


def apprise_services(settings: Settings) -> Services:
    """Return Apprise's services, as far as they are set up."""
    urls = {name: url.get_secret_value() for name, url in settings.values.apprise_services.items()}
    return Services(urls, for_everybody=settings.values.apprise_organisations == "all")


def apprise_transport(settings: Settings, clock: Clock, engine: Engine) -> dict[Transport, protocol.Transport]:
    """Return what sends by Apprise, or nothing where no service is set up; nothing of it is imported then.

    Raises:
        SettingsFault: Apprise is not installed, or does not know a URL.
    """
    services = settings.values.apprise_services
    if not services:
        return {}
    try:
        from tocsin.transports.apprise import AppriseTransport, url_fault  # noqa: PLC0415
    except ImportError as error:
        raise SettingsFault(
            "setting apprise_services (TOCSIN_APPRISE_SERVICES): Apprise is not installed; "
            "pip install 'tocsin[apprise]'"
        ) from error
    for name, url in services.items():
        fault = url_fault(url.get_secret_value())
        if fault is not None:
            raise SettingsFault(f"setting apprise_services (TOCSIN_APPRISE_SERVICES): the URL of {name} {fault}")
    limits = settings.limits("apprise", AppriseLimits)
    transport = AppriseTransport(apprise_services(settings), clock=clock, limits=limits)
    return {Transport.APPRISE: Telling(transport, engine=engine, clock=clock, edits=False)}
