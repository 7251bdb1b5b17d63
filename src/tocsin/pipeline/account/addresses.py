"""What an account's addresses may look like: enough to keep a slip and an injection out, not whether they exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tocsin.core.destination import MASK
from tocsin.transports.addresses import AMBIGUOUS_IN_HOSTS

URL_CHARACTERS_MAX = 2048
TOKEN_CHARACTERS_MAX = 256
MAIL_ADDRESS_BYTES_MAX = 254
"""The longest address that fits a path of RFC 5321, section 4.5.3.1.3, without its angle brackets."""

MAIL_ADDRESSES_MAX = 20
ID_DIGITS_MAX = 20

_TOKEN_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:_-")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_NOT_IN_MAIL = frozenset(',;:<>()[]\\"')
"""Would make a list, a group, a comment or a display name of an address."""


def fault_of(field: str, value: Any) -> str | None:
    """Return what is wrong with a field of a contact, to be read behind its name, or None."""
    if value == MASK:
        return "has no stored value that could be kept"
    return _CHECKS[field](value)


def _url_fault(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good and len(url) <= URL_CHARACTERS_MAX and url.isascii() and url.isprintable() and " " not in url:
        return None
    return f"must be an http or https URL of at most {URL_CHARACTERS_MAX} characters"


def _token_fault(token: str) -> str | None:
    # A token becomes part of a header or of a path, so it holds nothing that would end either.
    if len(token) <= TOKEN_CHARACTERS_MAX and _TOKEN_CHARACTERS.issuperset(token):
        return None
    return f"must be at most {TOKEN_CHARACTERS_MAX} letters, digits and . : _ -"


def _user_fault(user_id: str) -> str | None:
    if len(user_id) <= ID_DIGITS_MAX and user_id.isascii() and user_id.isdigit():
        return None
    return f"must be a Discord user id of at most {ID_DIGITS_MAX} digits"


def _chat_fault(chat_id: str | int) -> str | None:
    text = str(chat_id) if isinstance(chat_id, str) or abs(chat_id) < 10**ID_DIGITS_MAX else ""
    digits = text.removeprefix("-")
    is_number = len(digits) <= ID_DIGITS_MAX and digits.isascii() and digits.isdigit()
    name = text.removeprefix("@")
    is_name = text.startswith("@") and 1 <= len(name) <= TOKEN_CHARACTERS_MAX and _NAME_CHARACTERS.issuperset(name)
    return None if is_number or is_name else "must be a Telegram chat id, a number or @name"


def _to_fault(addresses: tuple[str, ...]) -> str | None:
    if len(addresses) > MAIL_ADDRESSES_MAX:
        return f"must be at most {MAIL_ADDRESSES_MAX} addresses"
    if not all(AMBIGUOUS_IN_HOSTS.isdisjoint(address.rpartition("@")[2]) for address in addresses):
        return "must have hosts without \xdf, \u03c2 and joiners, which name two domains; write them as xn--..."
    if all(_is_mail_address(address) for address in addresses):
        return None
    return f"must be mail addresses, each name@host of at most {MAIL_ADDRESS_BYTES_MAX} bytes"


def _is_mail_address(address: str) -> bool:
    name, _, host = address.partition("@")
    return (
        name != ""
        and host != ""
        and "@" not in host
        and len(address.encode()) <= MAIL_ADDRESS_BYTES_MAX
        and address.isprintable()
        and not any(character.isspace() or character in _NOT_IN_MAIL for character in address)
    )


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "webhook_url": _url_fault,
    "bot_token": _token_fault,
    "user_id": _user_fault,
    "chat_id": _chat_fault,
    "to": _to_fault,
}
