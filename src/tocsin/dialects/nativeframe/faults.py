"""What is wrong with a request, field by field: this dialect lists every fault, not only the first."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from tocsin.core.errors import InvalidRequest


class FaultCode(StrEnum):
    """The kind of a fault, as ``invalidFields`` tells it."""

    REQUIRED = "required"
    TYPE = "type"
    PATTERN = "pattern"
    RANGE = "range"
    CHOICE = "choice"
    UNKNOWN = "unknown"
    """There is no such field."""
    REFUSED = "refused"
    """It is well-formed, but not taken."""


class Fault(msgspec.Struct, frozen=True):
    """One faulty parameter or member; ``name`` is the client's own word for it."""

    name: str
    reason: str
    code: FaultCode


class InvalidFields(InvalidRequest):
    """The request has these faults.

    Attributes:
        faults: at least one.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(
            f"{first.name} {first.reason}{more}", fields=tuple((fault.name, fault.reason) for fault in faults)
        )
        self.faults = tuple(faults)


def refuse(faults: Sequence[Fault]) -> None:
    """Return if there are no faults.

    Raises:
        InvalidFields: there are.
    """
    if faults:
        raise InvalidFields(faults)
