"""Ids: one UUIDv7 of 16 bytes each, and the five ways in which they are written.

Layout of an id (RFC 9562, section 5.7): 48 bits of milliseconds, version 7, a 12-bit counter within the
millisecond, variant 2, then 6 bits that name the bucket, then 56 random bits. The bucket decides where a row
lives, so an id alone finds its shard.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import NewType

from tocsin.core.text import WHITE_SPACE

EventId = NewType("EventId", bytes)
DeliveryId = NewType("DeliveryId", bytes)
OrganisationId = NewType("OrganisationId", bytes)
DestinationId = NewType("DestinationId", bytes)
ChannelId = NewType("ChannelId", bytes)
KeyId = NewType("KeyId", bytes)

BUCKETS = 64
"""How many buckets there are; fixed for ever, since ids hold it."""

DEFAULT_ORGANISATION = OrganisationId(bytes(16))
"""The organisation that a fresh installation has, and that PushGo without a bearer means."""

_VERSION = 7
_VARIANT = 2
_COUNTER_MAX = 0xFFF
_POOL_BYTES = 2048


class IdSequence:
    """Makes ids that rise strictly within one process.

    Args:
        entropy: returns that many random bytes.
    """

    def __init__(self, entropy: Callable[[int], bytes]) -> None:
        self._entropy = entropy
        self._pool = b""
        self._drawn = 0
        self._last_ms = 0
        self._counter = 0

    def make(self, now_ms: int, bucket: int | None = None) -> bytes:
        """Return a new id.

        Args:
            now_ms: the wall clock; a clock that steps back does not make the ids fall.
            bucket: 0 to 63; drawn at random when None.
        """
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = 0
        elif self._counter < _COUNTER_MAX:
            self._counter += 1
        else:
            self._last_ms += 1
            self._counter = 0
        tail = self._random_64()
        low = (tail & 0x3FFF_FFFF_FFFF_FFFF) if bucket is None else (bucket << 56) | (tail & 0xFF_FFFF_FFFF_FFFF)
        high = (self._last_ms << 16) | (_VERSION << 12) | self._counter
        return ((high << 64) | (_VARIANT << 62) | low).to_bytes(16, "big")

    def _random_64(self) -> int:
        """Return 64 random bits; they are drawn many at a time, since each drawing is a system call."""
        start = self._drawn
        if start + 8 > len(self._pool):
            self._pool, start = self._entropy(_POOL_BYTES), 0
        self._drawn = start + 8
        return int.from_bytes(self._pool[start : start + 8], "big")


def bucket_of(identifier: bytes) -> int:
    """Return the bucket, 0 to 63, that an id holds."""
    return identifier[8] & 0x3F


def digest_bucket(name: bytes) -> int:
    """Return the bucket, 0 to 63, that a digest belongs to, the same for ever."""
    return name[0] & 0x3F


def subject_bucket(subject: str) -> int:
    """Return the bucket, 0 to 63, of everything that tells of a subject, the same for ever.

    A subject that is one of our ids, as an incident's is, lies where that id does; any other where its digest does,
    whoever tells of it: what a destination gets in the order of a subject lies in one bucket, whatever its sources.
    """
    named = parse_hex32(subject)
    if named is not None and named[6] >> 4 == _VERSION and named[8] >> 6 == _VARIANT:
        return bucket_of(named)
    return digest_bucket(digest(subject.encode()))


def digest(*parts: bytes) -> bytes:
    """Return 16 bytes that stand for these parts; no two lists of parts are confused."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(len(part).to_bytes(4, "big"))
        hasher.update(part)
    return hasher.digest()


def created_ms(identifier: bytes) -> int:
    """Return the millisecond in which an id was made."""
    return int.from_bytes(identifier[:6], "big")


def first_id_at(at_ms: int) -> bytes:
    """Return the smallest id of a millisecond, for range searches."""
    return max(0, at_ms).to_bytes(6, "big") + bytes(10)


def hex32(identifier: bytes) -> str:
    """Return an id as PushGo and Buildable show it: 32 lower-case hex digits."""
    return identifier.hex()


def dashed(identifier: bytes) -> str:
    """Return an id as Native Frame shows it: a UUID with dashes."""
    text = identifier.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def prefixed(prefix: str, identifier: bytes) -> str:
    """Return an id as PromptJang, PingPilot and the native routes show it: ``evt_`` and 32 hex digits."""
    return f"{prefix}_{identifier.hex()}"


_HEX = frozenset("0123456789abcdef")


def parse_hex32(text: str) -> bytes | None:
    """Return the id written as 32 lower-case hex digits, or None."""
    return bytes.fromhex(text) if len(text) == 32 and _HEX.issuperset(text) else None


def parse_dashed(text: str) -> bytes | None:
    """Return the id written as a UUID with dashes, in either case, or None."""
    if len(text) != 36 or any(text[at] != "-" for at in (8, 13, 18, 23)):
        return None
    return parse_hex32(text.replace("-", "").lower())


def parse_prefixed(prefix: str, text: str) -> bytes | None:
    """Return the id written as ``prefix_`` and 32 hex digits, or None."""
    head = f"{prefix}_"
    return parse_hex32(text[len(head) :]) if text.startswith(head) else None


def parse_event_id(text: str) -> EventId | None:
    """Return the event id written in any dialect's way, or None."""
    found = parse_prefixed("evt", text) or parse_hex32(text) or parse_dashed(text)
    return None if found is None else EventId(found)


_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CROCKFORD_VALUES = {digit: value for value, digit in enumerate(_CROCKFORD)}
_CROCKFORD_VALUES |= {digit.lower(): value for digit, value in _CROCKFORD_VALUES.items()}
_CROCKFORD_VALUES |= {"O": 0, "o": 0, "I": 1, "i": 1, "L": 1, "l": 1}


def crockford(identifier: bytes) -> str:
    """Return 16 bytes as PushGo writes a channel: 26 Crockford base32 digits, the last two bits zero."""
    number = int.from_bytes(identifier, "big") << 2
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))


def parse_crockford(text: str) -> bytes | None:
    """Return the 16 bytes of a channel's 26 digits, or None.

    Case does not count, O reads as 0, I and L as 1, dashes and white space are skipped.
    """
    number = digits = 0
    for character in text:
        if character == "-" or character in WHITE_SPACE:
            continue
        value = _CROCKFORD_VALUES.get(character)
        if value is None or digits == 26:
            return None
        number = (number << 5) | value
        digits += 1
    if digits != 26 or number & 3:
        return None
    return (number >> 2).to_bytes(16, "big")
