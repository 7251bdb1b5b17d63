"""A reader of live streams, by the rules of the HTML standard for server-sent events."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlencode

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message that was dispatched.

    Attributes:
        id: the last id that was sent, with this message or before it.
        name: the standard calls it the event's type.
    """

    id: str
    name: str
    data: Any

    @property
    def event_id(self) -> str:
        """The id of the event that it is about."""
        assert self.about is not None, self
        return self.about

    @property
    def about(self) -> str | None:
        """The same; None for a message about the stream itself."""
        found: str | None = self.data["event"]["id"] if self.name == "delivery" else self.data.get("id")
        return found


class Interpreter:
    """Makes messages of lines.

    Attributes:
        last_id: what a browser would send as Last-Event-ID.
        comments: that were passed over.
        retry_ms: after how long to come again, as far as it was said.

    Source: the HTML standard, section 9.2.6 (interpreting an event stream).
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.comments: list[str] = []
        self.retry_ms: int | None = None
        self._id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Message | None:
        """Take one line without its end; return the message that it ends."""
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments.append(value)
        elif name == "id":
            self._id = value
        elif name == "event":
            self._name = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry":
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Message | None:
        self.last_id = self._id
        name, data = self._name or "message", "\n".join(self._data)
        self._name, self._data = "", []
        return Message(self.last_id, name, json.loads(data)) if data else None


class Listener:
    """One stream, read in a thread of its own.

    Attributes:
        status, headers, body: of an answer that is no stream; the body is read only then.
        messages: so far.
        ended: whether the stream is over; an answer that is no stream is over at once.
        cut: it is over, and its end was not told.
    """

    def __init__(
        self, base_url: str, key: str | None, query: dict[str, Any], headers: dict[str, str], *, reading: bool
    ) -> None:
        host, _, port = base_url.removeprefix("http://").rpartition(":")
        self._connection = HTTPConnection(host, int(port), timeout=PATIENCE_S)
        if not reading:
            # Little fits into the buffers between, so that not reading is soon felt.
            self._connection.sock = socket.socket()
            self._connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._connection.sock.settimeout(PATIENCE_S)
            self._connection.sock.connect((host, int(port)))
        self.messages: list[Message] = []
        self.ended = False
        self.cut = False
        self.interpreter = Interpreter()
        self._changed = threading.Condition()
        self._may_read = threading.Event()
        target = "/api/v1/stream" + (f"?{urlencode(query)}" if query else "")
        sent = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._connection.request("GET", target, headers=sent | headers)
        self._socket = self._connection.sock
        response = self._response = self._connection.getresponse()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = b"" if self.status == 200 else response.read()
        self._thread = threading.Thread(target=self._read, args=(response,), daemon=True)
        self._thread.start()
        if reading:
            self.read()

    def read(self) -> None:
        """Begin to read, if that was put off."""
        self._may_read.set()

    def until(self, condition: Callable[[list[Message]], bool]) -> list[Message]:
        """Return the messages once the condition holds of them; fail when that takes too long."""
        with self._changed:
            done = self._changed.wait_for(lambda: condition(self.messages) or self.ended, PATIENCE_S)
            assert done, f"only these came: {self.messages}"
            assert condition(self.messages), f"the stream ended with these: {self.messages}"
            return list(self.messages)

    def wait_for(self, count: int, name: str | None = None) -> list[Message]:
        """Return the messages of one name, or all, once there are so many."""

        def matching(messages: list[Message]) -> list[Message]:
            return [each for each in messages if name in (None, each.name)]

        return matching(self.until(lambda messages: len(matching(messages)) >= count))

    def until_event(self, event_id: str) -> list[Message]:
        """Return the messages once this event was told."""
        return self.until(lambda messages: any(_is_event(each, event_id) for each in messages))

    def until_told(self, event_id: str, *, times: int) -> list[Message]:
        """Return the messages once so many were about this event."""
        return self.until(lambda messages: sum(each.about == event_id for each in messages) >= times)

    def until_at(self, mark: str) -> list[Message]:
        """Return the messages once the stream has come to this position.

        The gateway says so with its signs of life, also where it has nothing to tell.
        """
        with self._changed:
            there = self._changed.wait_for(lambda: self.interpreter.last_id == mark, PATIENCE_S)
            assert there, f"it stands at {self.interpreter.last_id}"
            return list(self.messages)

    def until_comment(self) -> None:
        """Return once a comment came."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.interpreter.comments), PATIENCE_S), "no comment came"

    def wait_begun(self) -> str:
        """Return the position with which the stream begins."""
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.interpreter.last_id), PATIENCE_S), "it did not begin"
            return self.interpreter.last_id

    def wait_ended(self) -> list[Message]:
        """Return all messages once the stream is over."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.ended, PATIENCE_S), f"it goes on: {self.messages[-3:]}"
            return list(self.messages)

    def close(self) -> None:
        """Leave."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.read()
        self._thread.join(PATIENCE_S)
        self._response.close()
        self._socket.close()
        self._connection.close()

    def _read(self, response: HTTPResponse) -> None:
        self._may_read.wait(2 * PATIENCE_S)
        try:
            while self.status == 200 and (line := response.readline()):
                with self._changed:
                    message = self.interpreter.feed(line.decode().removesuffix("\n"))
                    if message is not None:
                        self.messages.append(message)
                    self._changed.notify_all()
        except (OSError, HTTPException, ValueError):
            self.cut = True
        finally:
            with self._changed:
                # Only the last chunk, which is empty, leaves nothing of a chunk to be read.
                self.cut = self.cut or response.chunk_left is not None
                self.ended = True
                self._changed.notify_all()


def _is_event(message: Message, event_id: str) -> bool:
    return message.name == "event" and message.event_id == event_id


@contextmanager
def listening(
    base_url: str,
    key: str | None,
    query: dict[str, Any] | None = None,
    *,
    last_event_id: str | None = None,
    reading: bool = True,
) -> Iterator[Listener]:
    """Open a stream, and wait until it has begun, unless it is not read yet.

    Args:
        reading: False reads nothing before ``read`` is called.
    """
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    listener = Listener(base_url, key, query or {}, headers, reading=reading)
    try:
        if reading and listener.status == 200:
            listener.wait_begun()
        yield listener
    finally:
        listener.close()
