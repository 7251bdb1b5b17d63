"""Mail addresses as they are written into headers and envelopes: what no header can misread, and nothing else."""

from __future__ import annotations

import re

import msgspec

from tocsin.transports.addresses import AMBIGUOUS_IN_HOSTS

_LOCAL = re.compile(
    r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\xa0])+(?:\.(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\xa0])+)*"
)
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*")
_ENCODED = "=?"
"""Begins an encoded word, which some versions of Python's ``email`` decode within an address, line ends included."""
_NAMED = re.compile(r"\s*(?P<name>[^<>]*?)\s*<(?P<address>[^<>]+)>\s*")
_LOCAL_BYTES_MAX = 64
_ADDRESS_BYTES_MAX = 254
_NAME_CHARACTERS_MAX = 100


class MailAddress(msgspec.Struct, frozen=True):
    """An address that can be written.

    Attributes:
        host: in ASCII, as the DNS has it.
    """

    local: str
    host: str

    @property
    def text(self) -> str:
        """The whole address."""
        return f"{self.local}@{self.host}"

    @property
    def is_ascii(self) -> bool:
        """Whether any mail server takes it; else it wants SMTPUTF8 (RFC 6531)."""
        return self.local.isascii()


class Sender(msgspec.Struct, frozen=True):
    """Who mails are from.

    Attributes:
        name: shown beside the address; may be empty.
    """

    address: MailAddress
    name: str = ""


def find_mail_address(text: str) -> MailAddress | None:
    """Return an address, or None where ``text`` is none that can be written without quotes."""
    local, _, host = text.rpartition("@")
    if _LOCAL.fullmatch(local) is None or _ENCODED in local or not local.isprintable():
        return None
    if not host.isascii():
        if not AMBIGUOUS_IN_HOSTS.isdisjoint(host):
            return None
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return None
    if _HOST.fullmatch(host) is None or len(local.encode()) > _LOCAL_BYTES_MAX:
        return None
    return MailAddress(local, host) if len(f"{local}@{host}".encode()) <= _ADDRESS_BYTES_MAX else None


def parse_sender(text: str) -> Sender:
    """Return the sender written as ``alerts@example.com`` or ``Tocsin <alerts@example.com>``.

    Raises:
        ValueError: it is neither.
    """
    named = _NAMED.fullmatch(text)
    name = "" if named is None else named["name"].strip().strip('"').strip()
    address = find_mail_address(text.strip() if named is None else named["address"].strip())
    is_name = name.isprintable() and _ENCODED not in name and '"' not in name and len(name) <= _NAME_CHARACTERS_MAX
    if address is None or not address.is_ascii or not is_name:
        raise ValueError("must be a mail address, alerts@example.com or Tocsin <alerts@example.com>")
    return Sender(address, name)
