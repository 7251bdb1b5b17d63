"""Positions in the history as readers of streams see them.

A position counts the events of all organisations. Shown as it is, it would tell each tenant how many the others have;
so it is shown enciphered, together with whose it is, and no other organisation's is understood.
"""

from __future__ import annotations

from hashlib import blake2b

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from tocsin.core.identifiers import OrganisationId, digest, parse_prefixed, prefixed

POSITION_KEY_BYTES = 32
_PREFIX = "pos"
_OWNER_BYTES = 8
_POSITION_BYTES = 8


class Positions:
    """Shows positions and reads them; the same one is always shown in the same way.

    Args:
        key: the gateway's secret key; the cipher's own is derived from it.
    """

    def __init__(self, key: bytes) -> None:
        derived = blake2b(key=key, person=b"tocsin-positions", digest_size=POSITION_KEY_BYTES).digest()
        # Each position is one block, and no two of an organisation are alike: there is no pattern for a mode to hide.
        cipher = Cipher(AES(derived), ECB())  # noqa: S305
        self._encryptor: CipherContext = cipher.encryptor()
        self._decryptor: CipherContext = cipher.decryptor()

    def shown(self, organisation_id: OrganisationId, position: int) -> str:
        """Return a position as this organisation sees it: ``pos_`` and 32 hex digits."""
        block = _owner(organisation_id) + position.to_bytes(_POSITION_BYTES, "big")
        return prefixed(_PREFIX, self._encryptor.update(block))

    def parse(self, organisation_id: OrganisationId, text: str) -> int | None:
        """Return the position that was shown to this organisation, or None."""
        block = parse_prefixed(_PREFIX, text)
        if block is None:
            return None
        plain = self._decryptor.update(block)
        if plain[:_OWNER_BYTES] != _owner(organisation_id):
            return None
        return int.from_bytes(plain[_OWNER_BYTES:], "big")


def _owner(organisation_id: OrganisationId) -> bytes:
    return digest(b"position", organisation_id)[:_OWNER_BYTES]
