"""How a category's event would look to people, made by the same code that tells them of real ones."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any

import msgspec

from tocsin.core.clock import Clock
from tocsin.core.destination import Transport
from tocsin.core.event import Dialect, Event
from tocsin.core.identifiers import DestinationId, EventId, IdSequence, OrganisationId
from tocsin.core.organisation import Category
from tocsin.pipeline.account import Accounts, Categories, category_source
from tocsin.transports.mail_addresses import MailAddress, Sender, find_mail_address
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.messages.mail import mail_of
from tocsin.transports.messages.message import Message
from tocsin.transports.messages.telegram import telegram_texts

CHANNELS = (Transport.DISCORD, Transport.TELEGRAM, Transport.EMAIL)
"""The ways to people of which there is a preview."""

SAMPLE_FIELDS: dict[str, str | int | float | bool] = {
    "service": "checkout",
    "customer": "ada@example.com",
    "amount": 99.5,
    "retries": 3,
    "paid": False,
}
"""One value of each kind that a field may hold."""

_NOBODY = MailAddress("you", "example.com")
"""Who gets the mail where the account has no address yet."""


class Previews:
    """Renders samples.

    Args:
        sender: who mails are from.
        subject: of a category's mails.
        unsubscribe: a link like those by which people get no more mails; None where there are none.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        categories: Categories,
        clock: Clock,
        ids: IdSequence,
        sender: Sender,
        subject: str,
        unsubscribe: str | None,
    ) -> None:
        self._accounts = accounts
        self._categories = categories
        self._clock = clock
        self._ids = ids
        self._sender = sender
        self._subject = subject
        self._unsubscribe = unsubscribe

    def of_category(
        self, organisation_id: OrganisationId, name: str, channel: Transport, description: str | None = None
    ) -> dict[str, Any]:
        """Return what one of the ``CHANNELS`` would show of a sample event.

        For Discord its message's ``payload``, for Telegram the ``texts`` in order, for email ``subject``, ``text``,
        ``html`` and ``headers``.

        Args:
            description: the event's; None has the words of an event without one.

        Raises:
            NotFound: ``category_not_found``.
        """
        event = self._sample(organisation_id, self._categories.get(organisation_id, name), description)
        message = compose(event, None)
        match channel:
            case Transport.DISCORD:
                return {"payload": discord_payload(message).body}
            case Transport.TELEGRAM:
                return {"texts": list(telegram_texts(message).texts)}
            case Transport.EMAIL:
                return self._mail(organisation_id, event, message)
            case _:
                raise AssertionError(f"there is no preview for {channel}")

    def _sample(self, organisation_id: OrganisationId, category: Category, description: str | None) -> Event:
        """Return an event as PingPilot's route makes one of a request."""
        now_ms = self._clock.now_ms()
        body: dict[str, Any] = {"category": category.name}
        body |= {} if description is None else {"description": description}
        return Event(
            id=EventId(self._ids.make(now_ms)),
            organisation_id=organisation_id,
            dialect=Dialect.PINGPILOT,
            source=category_source(category.name),
            type=category.name,
            time_ms=now_ms,
            data=msgspec.json.encode(body | {"fields": SAMPLE_FIELDS}),
            extension={"color": category.color, "emoji": category.emoji},
        )

    def _mail(self, organisation_id: OrganisationId, event: Event, message: Message) -> dict[str, Any]:
        found = [find_mail_address(each) for each in self._accounts.get(organisation_id).email.to]
        mail = mail_of(
            message,
            sender=self._sender,
            to=[each for each in found if each is not None] or [_NOBODY],
            subject=self._subject,
            event_id=event.id,
            destination_id=DestinationId(bytes(16)),
            date_ms=event.time_ms,
            unsubscribe=self._unsubscribe,
        ).mail
        parts = {part.get_content_subtype(): _text_of(part) for part in mail.iter_parts()}
        headers = {header: str(value) for header, value in mail.items()}
        return {"subject": headers["Subject"], "text": parts["plain"], "html": parts["html"], "headers": headers}


def _text_of(part: Any) -> str:
    assert isinstance(part, EmailMessage)
    content = part.get_content()
    assert isinstance(content, str)
    return content
