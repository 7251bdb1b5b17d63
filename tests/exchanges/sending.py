"""One HTTP request over a real socket, with nothing added that the file does not ask for."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

ANSWER_DEADLINE_S = 40.0
"""How long a socket may be silent; longer than any wait that a route offers."""

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of several headers with one name the values are joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(base_url: str, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
    """Send one request on a connection of its own and return its answer.

    Host and Content-Length are added where the headers have neither them nor a Transfer-Encoding; with
    ``Transfer-Encoding: chunked`` the body is sent as one chunk.

    Raises:
        OSError, http.client.HTTPException: there was no answer.
        ValueError: the request cannot be put on the wire.
    """
    base = urlsplit(base_url)
    given = {name.lower() for name, _ in headers}
    connection = HTTPConnection(base.hostname or "", base.port, timeout=ANSWER_DEADLINE_S)
    try:
        connection.putrequest(method, base.path + target, skip_host="host" in given, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value.encode())
        if not given & {"content-length", "transfer-encoding"} and (body or method in _WITH_BODY):
            connection.putheader("Content-Length", str(len(body)))
        # A gateway may answer before it has read a body that it refuses: then sending fails, and the answer waits.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(body, encode_chunked="transfer-encoding" in given)
        response = connection.getresponse()
        received: dict[str, str] = {}
        for written, value in response.getheaders():
            name = written.lower()
            received[name] = f"{received[name]}, {value}" if name in received else value
        return Answer(response.status, received, response.read())
    finally:
        connection.close()
