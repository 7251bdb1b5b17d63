"""What a body says of the account side: its people, and its categories."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tocsin.core.quota import Plan
from tocsin.dialects.native.reading import (
    Field,
    Reader,
    choice,
    flag,
    listed,
    members,
    nullable,
    plain_text,
    read_body,
    wrong,
)
from tocsin.pipeline.account import Account, DiscordContact, EmailContact, TelegramContact
from tocsin.pipeline.account.addresses import MAIL_ADDRESSES_MAX


def account_in(body: bytes) -> Account:
    """Return the account that a body asks for; what a field may hold is judged where it is stored.

    Raises:
        MalformedBody, InvalidRequest: ``fields`` lists every fault.
    """
    return Account(**read_body(body, _ACCOUNT))


def new_category_in(body: bytes) -> dict[str, Any]:
    """Return name, colour and, where it was given, emoji of a new category.

    Raises:
        MalformedBody, InvalidRequest: ``fields`` lists every fault.
    """
    return read_body(body, _NEW_CATEGORY)


def category_changes_in(body: bytes) -> dict[str, Any]:
    """Return those of name, colour and emoji that a body replaces.

    Raises:
        MalformedBody, InvalidRequest: ``fields`` lists every fault.
    """
    return read_body(body, _CATEGORY_CHANGES)


def _color(value: Any) -> int:
    """Read a colour, written ``#RRGGBB`` or as Discord's integer.

    A text or a number that is none becomes -1, which is refused together with what is wrong with the name.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong("must be a colour as #RRGGBB or as a whole number")
    if isinstance(value, int):
        return value
    digits = value.removeprefix("#")
    if len(value) == 7 and len(digits) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
        return int(digits, 16)
    return -1


def _chat_id(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise wrong("must be a text or a whole number")
    return value


def _contact(kind: Callable[..., msgspec.Struct], fields: Mapping[str, Reader]) -> Reader:
    read_members = members({"enabled": Field(flag), **{name: Field(reader) for name, reader in fields.items()}})

    def read(value: Any) -> msgspec.Struct:
        return kind(**read_members(value))

    return read


_TEXT = nullable(plain_text)
_ACCOUNT = {
    "discord": Field(_contact(DiscordContact, {"webhook_url": _TEXT, "bot_token": _TEXT, "user_id": _TEXT})),
    "telegram": Field(_contact(TelegramContact, {"bot_token": _TEXT, "chat_id": nullable(_chat_id)})),
    "email": Field(_contact(EmailContact, {"to": listed(plain_text, most=MAIL_ADDRESSES_MAX)})),
    "plan": Field(nullable(choice(Plan))),
}
_NEW_CATEGORY = {
    "name": Field(plain_text, required=True),
    "color": Field(_color, required=True),
    "emoji": Field(nullable(plain_text)),
}
_CATEGORY_CHANGES = {name: Field(field.read) for name, field in _NEW_CATEGORY.items()}
