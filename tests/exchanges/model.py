"""What an exchange is, and what it is played against."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from exchanges.sending import Answer


class Gateway(Protocol):
    """A gateway that runs, with a receiver beside it."""

    @property
    def base_url(self) -> str:
        """Where it listens, ``http://127.0.0.1:<port>``."""
        ...

    @property
    def receiver_url(self) -> str:
        """Base URL of a local receiver that answers 200, and below ``/status/<code>`` that code."""
        ...

    def new_organisation(self, plan: str | None = None) -> dict[str, str]:
        """Make an organisation and return its predefined names: key, test_key, ingest_key, ..."""
        ...

    def differences(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes, answer: Answer
    ) -> list[str]:
        """Return in what a request and its answer differ from the description of its API."""
        ...


class ExchangeFault(Exception):
    """The file itself is wrong; the text begins with its path and line."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")


class Mismatch(AssertionError):
    """The gateway answered otherwise than recorded; the text lists every difference and the whole answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What ``@sign`` asks for; both are templates."""

    secret: str
    timestamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and the answer expected, templates not yet filled in.

    Attributes:
        line: of its title, from 1.
        target: the path with its query, as it is sent.
        raw_body: hex digits that stand for the body; None sends ``body``.
        until: repeat it until the answer is as expected, within bounds.
        expected_body: empty is not checked.
    """

    title: str
    line: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str
    expected_status: int
    expected_headers: tuple[tuple[str, str], ...]
    expected_body: str
    raw_body: str | None = None
    signature: Signature | None = None
    until: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeFile:
    """The exchanges of one file, in order.

    Attributes:
        plan: of the organisation in which they are played; None is the default.
        settings: of the gateway that they need for themselves; empty shares one.
    """

    path: Path
    exchanges: tuple[Exchange, ...]
    plan: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
