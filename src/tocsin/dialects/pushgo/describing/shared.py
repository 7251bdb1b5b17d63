"""What several of PushGo's operations have."""

from __future__ import annotations

from collections.abc import Mapping

from tocsin.core.event import Severity
from tocsin.dialects.pushgo.fields import (
    CHANNEL_NAME_CHARACTERS_MAX,
    ENTITY_ID_BYTES_MAX,
    LIST_ITEMS_MAX,
    OP_ID_BYTES_MAX,
)
from tocsin.web.openapi import Answer
from tocsin.web.openapi.model import Codes
from tocsin.web.openapi.schemas import Schema, always, either, flag, listed, mapping, nullable, number, record, text

EXAMPLE_CHANNEL = "06K2RCNJY1Y7T7MZ58Q6R5PGXC"
EXAMPLE_PASSWORD = "pass-1234"  # noqa: S105  an example

CHANNEL_ID = text("26 Crockford base32 digits, in any case.", example=EXAMPLE_CHANNEL)
PASSWORD = text("The channel's, 8 to 128 bytes.", example=EXAMPLE_PASSWORD)
CHANNEL_ID_SHOWN = text(pattern="^[0-9A-HJKMNP-TV-Z]{26}$", example=EXAMPLE_CHANNEL)
CHANNEL_NAME = text(f"At most {CHANNEL_NAME_CHARACTERS_MAX} characters, none of them a control.", example="ops")
DEVICE_KEY = text("Names the device, and is its secret.", example="5f2d8a1c9b3e4f60718293a4b5c6d7e8")
SEVERITY = text(f"One of {', '.join(Severity)}, in any case.", example="high")
MOMENT = nullable(
    either(
        {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        text(),
        description="Seconds or milliseconds since 1970; below 10^12 they are seconds. Decimal digits do too.",
        example=1772793000000,
    )
)
METADATA = nullable(mapping(either(text(), number(), flag()), "Keys of 1-64 bytes; values of at most 512."))
CIPHERTEXT = nullable(text("Opaque, and passed on."))

CHANNEL_FAULTS: Codes = {
    400: ("channel_id_required", "invalid_channel_id", "invalid_password_length"),
    403: ("password_mismatch",),
    404: ("channel_not_found",),
    429: ("too_many_attempts",),
}
"""What can be wrong with a channel and its password."""


def id_of_client(name: str, *, bytes_max: int) -> Schema:
    """Return an id that the client makes."""
    return text(f"{name}: 1-{bytes_max} of A-Z, a-z, 0-9, _, : and -.")


OP_ID = nullable(id_of_client("Makes a repeat recognisable; made where it is left out", bytes_max=OP_ID_BYTES_MAX))
THING_ID = nullable(id_of_client("What it is about", bytes_max=ENTITY_ID_BYTES_MAX))


def texts(what: str, *, bytes_max: int) -> Schema:
    """Return a list of tags or images."""
    return listed(text(), f"{what}, each once, of at most {bytes_max} bytes.", most=LIST_ITEMS_MAX)


def enveloped(description: str, data: Mapping[str, Schema], *optional: str) -> Answer:
    """Return the answer of success whose data have these members."""
    return Answer(
        description=description,
        schema=record(
            {
                "success": always(True),
                "data": record(data, optional=optional),
                "error": {"type": "null"},
                "error_code": {"type": "null"},
            }
        ),
    )


def united(*parts: Codes) -> Codes:
    """Return the codes of several sets together."""
    codes: dict[int, tuple[str, ...]] = {}
    for part in parts:
        for status, some in part.items():
            codes[status] = (*codes.get(status, ()), *some)
    return codes
