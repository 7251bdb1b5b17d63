"""A destination's address: which members it has for each transport, and what of it is secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tocsin.core.destination import MASK, SECRET_ADDRESS_FIELDS, Transport
from tocsin.core.headers import header_fault
from tocsin.dialects.native.limits import NativeLimits
from tocsin.dialects.native.reading import (
    UNKNOWN_FIELD,
    Fault,
    Faults,
    Faulty,
    Field,
    Reader,
    listed,
    text,
    word,
    wrong,
)
from tocsin.pipeline.account.addresses import MAIL_ADDRESSES_MAX, fault_of

METHODS = ("POST", "PUT", "PATCH", "DELETE")
"""The methods by which a webhook may be called."""


class Form(msgspec.Struct, frozen=True):
    """Members that make up an address together."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


FORMS: dict[Transport, tuple[Form, ...]] = {
    Transport.WEBHOOK: (Form(frozenset({"url"}), frozenset({"method", "headers"})),),
    Transport.DISCORD: (Form(frozenset({"webhook_url"})), Form(frozenset({"bot_token", "user_id"}))),
    # The chat may follow: the person whose it is connects it by a link.
    Transport.TELEGRAM: (Form(frozenset({"bot_token"}), frozenset({"chat_id"})),),
    Transport.EMAIL: (Form(frozenset({"to"})),),
    Transport.MAILBOX: (Form(frozenset({"device_key"})),),
    Transport.APPRISE: (Form(frozenset({"service"})),),
}
"""What an address of each transport may look like."""


def address(transport: Transport, shown: Mapping[str, Any], limits: NativeLimits) -> Reader:
    """Return a reader of a new address.

    The address that it returns lacks the secrets that stay as they are, and holds None for stored secrets that are to
    go, since the new address is of another form.

    Args:
        shown: the address that is replaced, its secrets masked; empty where there is none. A secret that is left out
            or given as it is shown stays.
    """
    secret = SECRET_ADDRESS_FIELDS[transport]
    kept = {name: value for name, value in shown.items() if name in secret and value}
    forms = FORMS[transport]
    readers = _readers(limits)
    known = {name: Field(readers[name]) for form in forms for name in form.required | form.optional}

    def read(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong("must be an object")
        given = {name: each for name, each in value.items() if name not in kept or each != kept[name]}
        faults = Faults()
        found = faults.members(given, known, unknown=UNKNOWN_FIELD)
        form = _fitting(forms, given.keys() & known.keys(), kept.keys())
        if form is None:
            faults.found += _missing(forms, given.keys() | kept.keys())
        if faults.found or form is None:
            raise Faulty(*faults.found)
        return {**found, **dict.fromkeys(kept.keys() - form.required - form.optional)}

    return read


def _fitting(forms: tuple[Form, ...], given: set[str], kept: Any) -> Form | None:
    return next(
        (form for form in forms if given <= form.required | form.optional and form.required <= given | kept), None
    )


def _missing(forms: tuple[Form, ...], present: set[str]) -> list[Fault]:
    if len(forms) == 1:
        return [(name, "is required") for name in sorted(forms[0].required - present)]
    wanted = ", or ".join(" and ".join(sorted(form.required)) for form in forms)
    return [("", f"must hold either {wanted}")]


# -- members -----------------------------------------------------------------------------------------------


def _readers(limits: NativeLimits) -> dict[str, Reader]:
    return {
        "url": _unmasked(text(1, limits.url_characters_max)),
        "method": word(METHODS),
        "headers": _headers(limits.headers_max),
        "webhook_url": _contact("webhook_url"),
        "bot_token": _contact("bot_token"),
        "user_id": _contact("user_id"),
        "chat_id": _chat_id,
        "to": _mail_addresses,
        "device_key": _unmasked(text(1, limits.device_key_characters_max)),
        "service": _unmasked(text(1, limits.name_characters_max)),
    }


def _unmasked(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if value == MASK:
            raise wrong("is the mask of a hidden value; give the value")
        return reader(value)

    return read


def _contact(name: str) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise wrong("must be a text that is not empty")
        fault = fault_of(name, value)
        if fault is not None:
            raise wrong(fault)
        return value

    return _unmasked(read)


def _chat_id(value: Any) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise wrong("must be a number or a text")
    fault = fault_of("chat_id", value)
    if fault is not None:
        raise wrong(fault)
    return value


def _mail_address(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong("must be a text")
    fault = fault_of("to", (value,))
    if fault is not None:
        raise wrong(fault)
    return value


_mail_list = listed(_mail_address, most=MAIL_ADDRESSES_MAX)


def _mail_addresses(value: Any) -> tuple[str, ...]:
    found: tuple[str, ...] = _mail_list(value)
    if not found:
        raise wrong("must hold at least one mail address")
    return found


def _headers(most: int) -> Reader:
    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or len(value) > most:
            raise wrong(f"must be an object of at most {most} members")
        faults = Faults()
        for name, each in value.items():
            reason = _header_reason(name, each)
            if reason is not None:
                faults.add(name, reason)
        if faults.found:
            raise Faulty(*faults.found)
        return value

    return read


def _header_reason(name: str, value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a text"
    if value == MASK:
        return "is the mask of a hidden value; give the value, or all headers as they are shown"
    fault = header_fault(name, value)
    return None if fault is None else f"cannot be sent: {fault}"
