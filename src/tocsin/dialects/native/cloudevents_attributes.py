"""The attributes of a CloudEvent: which there must be, what each may be, and every fault told at its place.

Source: CloudEvents 1.0.2, section "Context Attributes".
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from tocsin.core.clock import TIME_MAX_MS, TIME_MIN_MS, parse_rfc3339
from tocsin.core.cloudevents import JSON, SPEC_VERSION, Content, Kept, media_type, written
from tocsin.core.event import INDEXED_BYTES_MAX, is_indexable
from tocsin.core.identifiers import digest
from tocsin.dialects.native.limits import CloudEventsLimits
from tocsin.dialects.native.reading import Faults, Reader, wrong

_INTEGER_MAX = 2**31 - 1
_REQUIRED = ("specversion", "id", "source", "type")

_NAME = frozenset(string.ascii_lowercase + string.digits)
_HEX = frozenset(string.hexdigits)
_TOKEN = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
_URI = frozenset(string.ascii_letters + string.digits + "-._~:/?#[]@!$&'()*+,;=%")
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_NONCHARACTERS = [*range(0xFDD0, 0xFDF0), *range(0xFFFE, 0x110000, 0x10000), *range(0xFFFF, 0x110000, 0x10000)]
_FORBIDDEN = frozenset(map(chr, _CONTROLS + _NONCHARACTERS))
"""What no text may hold. Source: CloudEvents, section "Type System"."""


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent that may be stored.

    Attributes:
        time_ms: None where the producer does not say when it happened.
        data: one JSON document; ``kept.content`` says what it stands for.
    """

    source: str
    type: str
    subject: str | None
    time_ms: int | None
    kept: Kept
    data: bytes = b"null"

    def holding(self, data: bytes, content: Content) -> CloudEvent:
        """Return the event with data; without them it has none."""
        return msgspec.structs.replace(self, data=data, kept=msgspec.structs.replace(self.kept, content=content))

    def fingerprint(self) -> bytes:
        """Return 16 bytes over all but id and source, the same in whichever mode the event came."""
        kept = self.kept
        extensions = (f"{name}={written(kept.extensions[name])}" for name in sorted(kept.extensions))
        known = (
            self.type,
            self.subject,
            kept.time,
            kept.dataschema,
            kept.datacontenttype or JSON,
            kept.content.value,
        )
        parts = ("" if each is None else each for each in (*known, *extensions))
        return digest(*(each.encode() for each in parts), self.data)


def read_attributes(
    given: dict[str, Any], faults: Faults, name: Callable[[str], str], limits: CloudEventsLimits
) -> CloudEvent | None:
    """Return the event of these attributes, still without data, or None after noting their faults.

    Args:
        given: None where a value could not be read, whose fault is noted already.
        name: what an attribute is called where it stands.
    """
    before = len(faults.found)
    texts = _texts(limits.attribute_characters_max)
    known = {
        attribute: faults.read(name(attribute), reader, given[attribute])
        for attribute, reader in texts.items()
        if given.get(attribute) is not None
    }
    for attribute in _REQUIRED:
        if attribute not in given:
            faults.add(name(attribute), "is required")
    extensions = {name: value for name, value in given.items() if name not in texts and value is not None}
    if len(extensions) > limits.extensions_max:
        faults.add(name(next(iter(extensions))), f"is one of more than {limits.extensions_max} extensions")
    else:
        _read_extensions(extensions, faults, name, limits)
    if len(faults.found) > before or None in given.values():
        return None
    time = known.get("time")
    return CloudEvent(
        source=known["source"],
        type=known["type"],
        subject=known.get("subject"),
        time_ms=None if time is None else _time_ms(time),
        kept=Kept(
            id=known["id"],
            time=time,
            dataschema=known.get("dataschema"),
            datacontenttype=known.get("datacontenttype"),
            extensions=extensions,
            content=Content.NONE,
        ),
    )


def _read_extensions(
    extensions: dict[str, Any], faults: Faults, name: Callable[[str], str], limits: CloudEventsLimits
) -> None:
    read = _extension(limits.attribute_characters_max)
    for attribute, value in extensions.items():
        if not attribute or not _NAME.issuperset(attribute) or attribute == "data":
            shown = attribute[: limits.name_characters_max]
            faults.add(name(shown), "is not an attribute's name: lower-case letters and digits, and not data")
        elif len(attribute) > limits.name_characters_max:
            shown = attribute[: limits.name_characters_max]
            faults.add(name(shown), f"has a name of more than {limits.name_characters_max} characters")
        else:
            faults.read(name(attribute), read, value)


@lru_cache(maxsize=8)
def _texts(characters_max: int) -> dict[str, Reader]:
    """Return the readers of the attributes that the specification knows."""
    some = _text(1, characters_max)

    def indexed(value: Any) -> str:
        text: str = some(value)
        if not is_indexable(text):
            raise wrong(f"must have at most {INDEXED_BYTES_MAX} bytes in UTF-8")
        return text

    def checked(is_sound: Callable[[str], bool], reason: str, read_text: Reader = some) -> Reader:
        def read(value: Any) -> str:
            text: str = read_text(value)
            if not is_sound(text):
                raise wrong(reason)
            return text

        return read

    return {
        "specversion": checked(SPEC_VERSION.__eq__, f'must be "{SPEC_VERSION}"'),
        "id": some,
        "source": checked(_is_uri_reference, "must be a URI reference (RFC 3986)", indexed),
        "type": indexed,
        "subject": indexed,
        "time": checked(lambda text: _time_ms(text) is not None, "must be a time with its offset (RFC 3339)"),
        "dataschema": checked(_is_uri, "must be a URI (RFC 3986)"),
        "datacontenttype": checked(_is_content_type, "must be a media type (RFC 2046)"),
    }


def _text(least: int, most: int) -> Reader:
    def read(value: Any) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most or not _is_clean(value):
            raise wrong(f"must be a text of {least} to {most} characters without control characters")
        return value

    return read


@lru_cache(maxsize=8)
def _extension(characters_max: int) -> Reader:
    read_text = _text(0, characters_max)

    def read(value: Any) -> bool | int | str:
        if isinstance(value, bool):
            return value
        if isinstance(value, int) and -_INTEGER_MAX - 1 <= value <= _INTEGER_MAX:
            return value
        if isinstance(value, str):
            text: str = read_text(value)
            return text
        raise wrong("must be a text, true, false, or a whole number of 32 bits")

    return read


def _is_clean(text: str) -> bool:
    # What is printable is quickly told, and holds nothing of what is forbidden.
    return text.isprintable() or _FORBIDDEN.isdisjoint(text)


def _is_uri_reference(text: str) -> bool:
    return _URI.issuperset(text) and all(len(part) > 1 and _HEX.issuperset(part[:2]) for part in text.split("%")[1:])


def _is_uri(text: str) -> bool:
    scheme, colon, _ = text.partition(":")
    return bool(colon) and scheme[:1].isalpha() and scheme.isascii() and _is_uri_reference(text) and "/" not in scheme


def _is_content_type(text: str) -> bool:
    kind, _, subtype = media_type(text).partition("/")
    return text.isascii() and all(part and _TOKEN.issuperset(part) for part in (kind, subtype))


def _time_ms(text: str) -> int | None:
    """Return the milliseconds of a time as RFC 3339 has it, which always has an offset, or None."""
    if len(text) < len("2018-04-05T17:31:00Z") or "," in text:
        return None
    marks = text[4], text[7], text[10].upper(), text[13], text[16]
    if marks != ("-", "-", "T", ":", ":") or not (text[-1] in "Zz" or text[-6] in "+-"):
        return None
    found = parse_rfc3339(text.upper())
    return found if found is not None and TIME_MIN_MS <= found <= TIME_MAX_MS else None
