"""Building the ways out to people."""

from __future__ import annotations

from contextlib import AsyncExitStack
from ipaddress import ip_network

from tocsin.bootstrap.mail import email_transport, unsubscribe_links
from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.engine.protocol import Engine
from tocsin.pipeline.telling import Telling
from tocsin.settings import DISCORD_API_BASE, TELEGRAM_API_BASE, Settings
from tocsin.transports import outbound, protocol
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.discord import DiscordTransport
from tocsin.transports.telegram import TelegramTransport

_EVERYWHERE = AddressPolicy((ip_network("0.0.0.0/0"), ip_network("::/0")))


async def api_client(settings: Settings, client: outbound.Sends, stack: AsyncExitStack) -> outbound.Sends:
    """Return what sends to Discord's and Telegram's APIs; the stack closes it.

    An API of the operator's own choice may be private, without private addresses being open to what tenants choose:
    it has a client of its own. It is no process but a thread, since what people read is little.

    Args:
        client: sends to what tenants choose.
    """
    values = settings.values
    if (values.discord_api_base, values.telegram_api_base) == (DISCORD_API_BASE, TELEGRAM_API_BASE):
        return client
    own = outbound.Client(_EVERYWHERE, limits=settings.limits("outbound", outbound.Limits))
    await own.open()
    stack.push_async_callback(own.close)
    return own


def people_transports(
    settings: Settings, clock: Clock, engine: Engine, key: bytes, client: outbound.Sends, to_apis: outbound.Sends
) -> dict[Transport, protocol.Transport]:
    """Return the ways out to people: Discord and Telegram, and email where there is a mail server.

    Args:
        key: the gateway's secret key, for the links by which people get no more mails.
        client: sends to what tenants choose.
        to_apis: sends to the APIs.
    """
    values = settings.values
    discord = DiscordTransport(client, clock, values.discord_api_base, to_apis)
    telegram = TelegramTransport(to_apis, clock, values.telegram_api_base)
    email = email_transport(settings, clock, unsubscribe_links(settings, key))
    found: dict[Transport, protocol.Transport] = {
        Transport.DISCORD: Telling(discord, engine=engine, clock=clock, edits=True),
        Transport.TELEGRAM: Telling(telegram, engine=engine, clock=clock, edits=True),
    }
    if email is not None:
        found[Transport.EMAIL] = Telling(email, engine=engine, clock=clock, edits=False)
    return found
