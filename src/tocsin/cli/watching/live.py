"""The gateway's live stream: its messages, as long as they are wanted, over as many connections as it takes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import click

from tocsin.cli.client.session import Session
from tocsin.cli.exits import BUSY, UNREACHABLE
from tocsin.cli.faults import Failure
from tocsin.cli.watching.event_filters import DIALECTS, SEVERITIES

F = TypeVar("F", bound=Callable[..., Any])

OPENED = "opened"
"""The name of the first message: nothing that happens from here on is missed."""

_PATH = "/api/v1/stream"
_SILENCE_S = 60.0
"""The gateway says something every 15 s; who hears nothing for so long is cut off."""
_WAIT_S = 1.0
_WAIT_MAX_S = 30.0
_FILTERS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--type", {"metavar": "GLOB", "help": "Name of the event, as order.*; several with commas between them."}),
    ("--source", {"metavar": "GLOB", "help": "Where it came from, as pushgo/channel/*."}),
    ("--subject", {"metavar": "GLOB", "help": "What it is about."}),
    ("--dialect", {"type": click.Choice(DIALECTS), "help": "API by which it came."}),
    ("--severity", {"type": click.Choice(SEVERITIES), "help": "How urgent."}),
    ("--destination", {"metavar": "NAME|ID", "help": "With a delivery to this destination."}),
    ("--search", {"metavar": "TEXT", "help": "Text in the payload."}),
)
_NAMES = {"search": "q"}


class Message(NamedTuple):
    """A message of the stream.

    Attributes:
        name: ``event``, ``delivery``, ``gap``, ``dropped``, ``bye``, or ``OPENED``.
        position: where to go on behind it.
        text: its data, JSON as it was sent.
    """

    name: str
    position: str
    text: str

    @property
    def data(self) -> Any:
        """Its data, decoded."""
        return json.loads(self.text)


def stream_filters(function: F) -> F:
    """Add every option that narrows the stream; they arrive together as ``filters``."""
    for flag, attributes in reversed(_FILTERS):
        function = click.option(flag, **attributes)(function)
    return function


def stream_query(session: Session, filters: Mapping[str, Any]) -> dict[str, str]:
    """Return the filters that were given as the stream's query.

    Raises:
        Failure: there is no such destination.
    """
    from tocsin.cli.managing.destination_lookup import find_destination  # noqa: PLC0415  the help does without

    query = {_NAMES.get(name, name): value for name, value in filters.items() if value is not None}
    if "destination" in query:
        query["destination"] = find_destination(session, query["destination"])["id"]
    return query


class Stream:
    """Reads the stream, and comes again where it ends, going on where it left off.

    Args:
        query: filters, ``kinds`` and ``data`` as the route takes them.
    """

    def __init__(self, session: Session, query: Mapping[str, str]) -> None:
        self._session = session
        self._query = query
        self._position: str | None = None
        self._wait_s = _WAIT_S
        self._failures = 0

    def messages(self) -> Iterator[Message]:
        """Yield ``OPENED``, then the messages as they come, without end.

        Raises:
            Failure: the gateway cannot be reached at the beginning, or refuses; later it is asked again.
        """
        while True:
            try:
                yield from self._connection()
                reason = "the stream ended"
            except Failure as failure:
                if self._position is None or failure.status not in (UNREACHABLE, BUSY):
                    raise
                reason = failure.message
            wait_s = min(self._wait_s * 2**self._failures, _WAIT_MAX_S) * random.uniform(0.5, 1.0)  # noqa: S311
            self._failures = min(self._failures + 1, 10)
            self._session.out.note(f"{reason}; coming again in {wait_s:.1f} s")
            time.sleep(wait_s)

    def _connection(self) -> Iterator[Message]:
        headers = {} if self._position is None else {"Last-Event-ID": self._position}
        name, texts, position = "", [], ""
        for line in self._session.api.lines(_PATH, self._query, headers, _SILENCE_S):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                position = value
            elif field == "event":
                name = value
            elif field == "data":
                texts.append(value)
            elif field == "retry" and value.isdecimal():
                self._wait_s = min(int(value) / 1000, _WAIT_MAX_S)
            elif not line:
                if position:
                    yield from self._begun(position)
                if texts:
                    yield Message(name or "message", position, "\n".join(texts))
                name, texts = "", []

    def _begun(self, position: str) -> Iterator[Message]:
        first = self._position is None
        self._position = position
        self._failures = 0
        if first:
            yield Message(OPENED, position, "{}")


def tell_about_stream(session: Session, message: Message) -> None:
    """Tell a person of a message that is about the stream itself; of the others say nothing."""
    if message.name == "gap":
        session.out.warn(f"events are missing here: {message.data.get('reason')}; tocsin events list has them")
    elif message.name == "dropped":
        session.out.warn("this reader was too slow; it goes on where it left off")
