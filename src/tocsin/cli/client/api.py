"""The HTTP client of the commands: one gateway, one connection that is kept, every answer in the same shape."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode, urlsplit

from tocsin import __version__
from tocsin.cli.client.refusals import refusal
from tocsin.cli.exits import FAILED, UNREACHABLE, USAGE
from tocsin.cli.faults import Failure

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 256 * 1024 * 1024
LINE_BYTES_MAX = 8 * 1024 * 1024
_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway.

    Attributes:
        headers: names in lower case.
        elapsed_ms: from the first byte sent to the last one read.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    elapsed_ms: float

    @property
    def json(self) -> Any:
        """The body, decoded.

        Raises:
            Failure: it is no JSON.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise Failure(
                FAILED, f"the answer (status {self.status}) is not JSON; is --url the address of a Tocsin?"
            ) from None


class Api:
    """A gateway's HTTP API.

    Args:
        base_url: ``http://`` or ``https://``, host, port and perhaps a path.
        key: API key, sent as the bearer; None sends none.
        timeout_s: how long the gateway may be silent, in seconds.

    Raises:
        Failure: the URL or the key cannot be used.
    """

    def __init__(self, base_url: str, key: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = _checked(base_url)
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise Failure(USAGE, "the key has characters that no key has; look for a line end or a space in it")
        self.base_url = base_url.rstrip("/")
        self.key = key
        self._prefix = parts.path.rstrip("/")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return what a GET answers, decoded.

        Raises:
            Failure: nobody answers, or with an error.
        """
        return self.call("GET", path, query=query)

    def post(self, path: str, body: Any = _MISSING, query: Mapping[str, Any] | None = None) -> Any:
        """Return what a POST of this value as JSON answers, decoded.

        Raises:
            Failure: nobody answers, or with an error.
        """
        return self.call("POST", path, body, query=query)

    def call(self, method: str, path: str, body: Any = _MISSING, *, query: Mapping[str, Any] | None = None) -> Any:
        """Return what a request answers, decoded; None where the answer is empty.

        Raises:
            Failure: nobody answers, or with an error.
        """
        answer = self.checked(self.send(method, path, body, query=query))
        return answer.json if answer.body else None

    def checked(self, answer: Answer) -> Answer:
        """Return the answer if it is no error.

        Raises:
            Failure: it is, in whichever dialect's form.
        """
        if answer.status >= 300:
            raise refusal(answer.status, answer.headers, answer.body, has_key=self.key is not None)
        return answer

    def send(
        self,
        method: str,
        path: str,
        body: Any = _MISSING,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return the answer to one request, errors too.

        Args:
            path: what comes from a user in it goes through ``segment``.
            body: bytes are sent as they are, any other value as JSON.
            query: None as a value leaves the parameter out, a list repeats it.
            headers: beside those that are always sent; they count before these.
            timeout_s: of this request alone.

        Raises:
            Failure: nobody answers.
        """
        started_s = time.monotonic()
        with self._exchange(method, path, body, query, headers, timeout_s) as response:
            data = response.read(ANSWER_BYTES_MAX + 1)
            if len(data) > ANSWER_BYTES_MAX:
                raise Failure(FAILED, f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
            if response.length:
                # A read of at most so many bytes says nothing of an answer that breaks off.
                raise IncompleteRead(data, response.length)
        elapsed_ms = (time.monotonic() - started_s) * 1000
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, data, elapsed_ms)

    def lines(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[str]:
        """Yield the lines of an answer as they come, without their ends, until it ends.

        For server-sent events: blank lines and comments are yielded too. The connection serves nothing else until
        the iterator is closed.

        Args:
            timeout_s: how long the gateway may be silent; a stream that beats needs little more than a beat.

        Raises:
            Failure: nobody answers, with an error, or the connection breaks.
        """
        with self._exchange("GET", path, _MISSING, query, headers, timeout_s) as response:
            if response.status >= 300:
                found = {name.lower(): value for name, value in response.getheaders()}
                body = response.read(ANSWER_BYTES_MAX)
                raise refusal(response.status, found, body, has_key=self.key is not None)
            try:
                while line := response.readline(LINE_BYTES_MAX):
                    yield line.decode("utf-8", "replace").rstrip("\r\n")
            finally:
                self._connection.close()

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> Iterator[HTTPResponse]:
        """Send a request and yield its answer; what breaks until the end of the block is told as unreachable."""
        sent = {"User-Agent": f"tocsin/{__version__}", "Accept": "application/json"}
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        data: bytes | None = None
        if body is not _MISSING:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        target = self._prefix + path + _query_text(query)
        connection = self._connection
        usual_s = connection.timeout
        try:
            self._drop_if_ended()
            connection.timeout = timeout_s or usual_s
            if connection.sock is not None:
                connection.sock.settimeout(connection.timeout)
            connection.request(method, target, data, sent)
            yield connection.getresponse()
        except (OSError, HTTPException) as error:
            connection.close()
            raise Failure(UNREACHABLE, f"{self.base_url}: {_reason(error)}") from error
        except BaseException:
            connection.close()
            raise
        finally:
            connection.timeout = usual_s

    def _drop_if_ended(self) -> None:
        """Close a kept connection that the gateway has ended: a request on it would be lost, and not be repeated."""
        sock = self._connection.sock
        if sock is not None and select.select([sock], [], [], 0)[0]:
            self._connection.close()


def segment(text: str) -> str:
    """Return a user's text as one segment of a path."""
    return quote(text, safe="")


def _query_text(query: Mapping[str, Any] | None) -> str:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    return "?" + urlencode(given, doseq=True) if given else ""


def _checked(url: str) -> Any:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
        parts = urlsplit("")
    if not fine or "@" in parts.netloc or parts.query or parts.fragment or not url.isascii() or not url.isprintable():
        raise Failure(USAGE, "--url must be http:// or https://, a host, and a port if it is not the usual one")
    return parts


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there; is it running? Start one with: tocsin serve"
    if isinstance(error, TimeoutError):
        return "no answer in time; is it reachable from here?"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{text}; is the address right? --url, TOCSIN_URL or a profile gives another"
