"""What the outbound client is asked, what it answers, and its bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from tocsin import __version__
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy

BODY_KEPT_BYTES = 16 * 1024
"""How much of an answer's body is handed on."""
BODY_READ_BYTES = 1024 * 1024
"""Where reading a body stops for good. What lies between is read and dropped, so that the connection can be kept."""
HEADER_BYTES_MAX = 64 * 1024
"""All header lines of one exchange together, interim answers (1xx) and trailers included."""
USER_AGENT = f"Tocsin/{__version__}"
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The client's bounds.

    Attributes:
        connections_max: requests under way at once, and connections open at once, idle ones included.
        connect_s: until a connection stands, its TLS included.
        resolve_s: until a name has addresses.
        names_ttl_s: how long a name's addresses are used without asking again.
        resolvers_max: names that are looked up at once.
        close_s: how long ``close`` waits for the thread.
    """

    connections_max: int = 1024
    connect_s: float = 5.0
    resolve_s: float = 3.0
    names_ttl_s: float = 30.0
    resolvers_max: int = 32
    close_s: float = 5.0


class Request(msgspec.Struct, frozen=True, array_like=True):
    """One request; it is sent as it stands.

    Attributes:
        method: GET, POST, PUT, PATCH or DELETE; GET goes without a body.
        headers: in order, ``Content-Type`` among them unless nobody knows what the body is; the client adds ``Host``,
            ``Accept``, ``Content-Length`` and, unless it is given, ``User-Agent``. Neither names nor values may hold
            CR, LF or NUL.
        timeout_s: from hand-over to the end of the answer.
        kept_bytes: how much of the answer's body is handed on.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout_s: float
    kept_bytes: int = BODY_KEPT_BYTES


class Reply(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What came of a request.

    An answer counts once it is complete. One whose body is too long to be read whole counts too, by its status: the
    receiver has decided, and asking again would bring the same body. One that breaks off or outlasts the deadline
    does not, and has both a status and an error.

    Attributes:
        status: of the final answer, 200 or more; None when there was none.
        headers: of the final answer, in order, names as received.
        body: its first ``kept_bytes``, as received: never decompressed.
        truncated: whether there was more.
        connect_ms: until connected; None when a kept connection served, or none was made.
        error_class: None for an answer that counts, whatever its status.
        error: one line for a person, with no part of the URL but the host.
        unsent: the request never left, because the client was full or closed, or the process had no socket to spare:
            no attempt was made.
    """

    duration_ms: int
    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    truncated: bool = False
    connect_ms: int | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    unsent: bool = False


class Sends(Protocol):
    """What sends requests, in this process or another."""

    @property
    def policy(self) -> AddressPolicy:
        """Which addresses may be reached."""
        ...

    def send(self, request: Request, done: Replied) -> None:
        """Send a request; ``done`` gets its reply. On the event loop only; never blocks."""
        ...


Replied = Callable[[Reply], None]
"""Called exactly once for each request, on the event loop, never from within ``send``."""
