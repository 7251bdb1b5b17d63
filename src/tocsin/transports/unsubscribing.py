"""Links by which a person gets no more mails: whoever holds one may do this one thing, and learns nothing from it."""

from __future__ import annotations

import base64
import binascii
from hashlib import blake2b

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tocsin.core.identifiers import DestinationId, OrganisationId, digest

UNSUBSCRIBE_PATH = "/unsubscribe/"
_KEY_BYTES = 64
_ID_BYTES = 16
_PLAIN_BYTES = 3 * _ID_BYTES
_TAG_BYTES = 16
_PLACE = [b"unsubscribe"]


class Unsubscription(msgspec.Struct, frozen=True):
    """Whom a link is about.

    Attributes:
        address_digest: of the mail address, which the link itself does not hold.
    """

    organisation_id: OrganisationId
    destination_id: DestinationId
    address_digest: bytes


class UnsubscribeLinks:
    """Makes links, always the same for the same address of a destination, and reads them.

    A link is enciphered and authenticated in one (AES-SIV, RFC 5297), so that neither an organisation nor a
    destination can be read out of it, and every changed one is refused in the same time.

    Args:
        key: the gateway's secret key; the cipher's own is derived from it.
        public_url: where people reach the gateway, without a slash at its end; None makes no links.
    """

    def __init__(self, key: bytes, public_url: str | None) -> None:
        derived = blake2b(key=key, person=b"tocsin-unsub", digest_size=_KEY_BYTES).digest()
        self._cipher = AESSIV(derived)
        self._public_url = public_url

    @property
    def makes_links(self) -> bool:
        """Whether there is a public URL for them."""
        return self._public_url is not None

    def link(self, organisation_id: OrganisationId, destination_id: DestinationId, address: str) -> str | None:
        """Return the link by which this address is taken out of the destination, or None where there are none."""
        if self._public_url is None:
            return None
        plain = organisation_id + destination_id + address_digest(address)
        token = base64.urlsafe_b64encode(self._cipher.encrypt(plain, _PLACE)).rstrip(b"=").decode()
        return f"{self._public_url}{UNSUBSCRIBE_PATH}{token}"

    def read(self, token: str) -> Unsubscription | None:
        """Return whom a link's last part is about, or None where it is not one of ours."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(sealed, _PLACE) if len(sealed) == _PLAIN_BYTES + _TAG_BYTES else b""
        except (ValueError, binascii.Error, InvalidTag):
            return None
        if len(plain) != _PLAIN_BYTES:
            return None
        return Unsubscription(
            OrganisationId(plain[:_ID_BYTES]),
            DestinationId(plain[_ID_BYTES : 2 * _ID_BYTES]),
            plain[2 * _ID_BYTES :],
        )


def address_digest(address: str) -> bytes:
    """Return what stands for an address in a link."""
    return digest(b"unsubscribe", address.encode("utf-8", "surrogatepass"))
