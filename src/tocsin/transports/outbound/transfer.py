"""One request on one libcurl handle: its options, its callbacks, and the reply that comes of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pycurl

from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Place
from tocsin.transports.outbound.messages import (
    BODY_KEPT_BYTES,
    BODY_READ_BYTES,
    HEADER_BYTES_MAX,
    METHODS,
    USER_AGENT,
    Replied,
    Reply,
    Request,
)

_FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6})
_EXPECT_BYTES = 1024 * 1024
"""From this size of a body on, libcurl would ask the receiver first whether to send it, which costs a round trip."""
_IDLE_MAX_S = 55
"""Below the minute after which common load balancers drop an idle connection."""
_LIFETIME_MAX_S = 600
"""So that a name's change reaches destinations that are never idle."""
_ERROR_LENGTH_MAX = 200
_TOO_LARGE = 100
"""CURLE_TOO_LARGE, which pycurl does not name: libcurl's own cap on headers."""

_ERROR_CLASSES: dict[int, ErrorClass] = {
    pycurl.E_UNSUPPORTED_PROTOCOL: ErrorClass.PROTOCOL,  # HTTP/0.9; other schemes never get here
    pycurl.E_URL_MALFORMAT: ErrorClass.ADDRESS_REFUSED,
    pycurl.E_LOGIN_DENIED: ErrorClass.ADDRESS_REFUSED,  # user name in the URL
    pycurl.E_COULDNT_RESOLVE_HOST: ErrorClass.DNS,
    pycurl.E_COULDNT_CONNECT: ErrorClass.CONNECT,
    pycurl.E_OPERATION_TIMEDOUT: ErrorClass.TIMEOUT,
    pycurl.E_SSL_CONNECT_ERROR: ErrorClass.TLS,
    pycurl.E_SSL_CERTPROBLEM: ErrorClass.TLS,
    pycurl.E_SSL_CIPHER: ErrorClass.TLS,
    pycurl.E_PEER_FAILED_VERIFICATION: ErrorClass.TLS,
    pycurl.E_SSL_CACERT_BADFILE: ErrorClass.TLS,
    pycurl.E_SSL_ISSUER_ERROR: ErrorClass.TLS,
    pycurl.E_SSL_INVALIDCERTSTATUS: ErrorClass.TLS,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: ErrorClass.PROTOCOL,  # libcurl's "weird server reply" of any protocol
    pycurl.E_PARTIAL_FILE: ErrorClass.PROTOCOL,
    pycurl.E_WRITE_ERROR: ErrorClass.PROTOCOL,
    pycurl.E_GOT_NOTHING: ErrorClass.PROTOCOL,
    pycurl.E_SEND_ERROR: ErrorClass.PROTOCOL,
    pycurl.E_RECV_ERROR: ErrorClass.PROTOCOL,
    pycurl.E_BAD_CONTENT_ENCODING: ErrorClass.PROTOCOL,
    _TOO_LARGE: ErrorClass.PROTOCOL,
}


class Transfer:
    """A handle and the request that it carries; used by the sender's thread alone.

    Options that never change are set once, and the handle serves one request after another: making one costs more
    than sending with it.

    Args:
        opened: told the descriptor of every new socket, before libcurl asks for it to be watched.
    """

    __slots__ = (
        "_body_bytes",
        "_chunks",
        "_header_bytes",
        "_headers_overflow",
        "_launched_s",
        "_lines",
        "_made",
        "_method",
        "_opened",
        "_policy",
        "_refused",
        "_socket_fault",
        "_socketless",
        "_url",
        "began_s",
        "check_s",
        "connecting",
        "curl",
        "deadline_s",
        "done",
        "place",
        "request",
    )

    _made: socket.socket | None
    request: Request
    done: Replied
    place: Place
    _launched_s: float | None
    began_s: float
    deadline_s: float
    check_s: float
    """When to look whether this transfer has come far enough."""

    def __init__(self, policy: AddressPolicy, ca_file: str | None, opened: Callable[[int], None]) -> None:
        self._policy = policy
        self._opened = opened
        self._lines: list[bytes] = []
        self._chunks: list[bytes] = []
        self._method = ""
        self._url = ""
        self._made = None
        self.curl: Any = pycurl.Curl()
        self._set_constant_options(ca_file)
        self._clear()

    def _set_constant_options(self, ca_file: str | None) -> None:
        options: dict[int, Any] = {
            pycurl.NOSIGNAL: 1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.USERAGENT: USER_AGENT,
            pycurl.FOLLOWLOCATION: 0,
            pycurl.PROXY: "",
            pycurl.NOPROXY: "*",
            pycurl.NETRC: pycurl.NETRC_IGNORED,
            pycurl.SSL_VERIFYPEER: 1,
            pycurl.SSL_VERIFYHOST: 2,
            pycurl.TCP_NODELAY: 1,
            pycurl.DNS_CACHE_TIMEOUT: 0,  # entries made by RESOLVE stay in any case, and no others are wanted
            pycurl.MAXAGE_CONN: _IDLE_MAX_S,
            pycurl.MAXLIFETIME_CONN: _LIFETIME_MAX_S,
            pycurl.OPENSOCKETFUNCTION: self._open_socket,
            pycurl.SOCKOPTFUNCTION: self._on_socket,
            pycurl.HEADERFUNCTION: self._on_header,
            pycurl.WRITEFUNCTION: self._on_body,
        }
        if ca_file is not None:
            options[pycurl.CAINFO] = ca_file
        for option, value in options.items():
            self.curl.setopt(option, value)

    def take(self, request: Request, done: Replied, place: Place, now_s: float) -> None:
        """Set the handle up for a request; raises ValueError for one that cannot be sent as it stands."""
        self.request = request
        self.done = done
        self.place = place
        self.began_s = now_s
        self.deadline_s = self.check_s = now_s + request.timeout_s
        curl = self.curl
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        text = "\n".join(lines)
        if text.count("\n") >= len(lines) > 0 or "\r" in text or "\0" in text:
            raise ValueError("a header holds a line break")
        if len(request.body) >= _EXPECT_BYTES:
            lines.append("Expect:")
        names = f"\n{text.lower()}"
        if "\ncontent-type:" not in names and "\ncontent-type;" not in names:
            lines.append("Content-Type:")  # none, where libcurl would call the body a form
        curl.setopt(pycurl.HTTPHEADER, lines)
        if self._method != request.method:
            self._set_method(request.method)
        if request.method != "GET":
            curl.setopt(pycurl.POSTFIELDS, request.body)
        if self._url != place.url:
            curl.setopt(pycurl.URL, place.url)
            self._url = place.url

    def launch(self, now_s: float, connect_s: float, names: list[str] | None) -> None:
        """Make ready for being added to the multi handle; ``names`` is for libcurl's cache of names."""
        self._launched_s = now_s
        self.check_s = min(self.deadline_s, now_s + connect_s)
        if names is not None:
            self.curl.setopt(pycurl.RESOLVE, names)

    def is_connected(self) -> bool:
        """Whether the connection stands, as far as this transfer made one; ask only while it is under way."""
        if not self.connecting:
            return True
        stands = pycurl.APPCONNECT_TIME_T if self.place.scheme == "https" else pycurl.CONNECT_TIME_T
        return bool(self.curl.getinfo(stands))

    def finish(self, now_s: float, code: int, message: str) -> Reply:
        """Return the reply to a transfer that libcurl has ended with this code."""
        whole = code == pycurl.E_OK or self._body_bytes > BODY_READ_BYTES
        error_class, error = (None, None) if whole else self._error(code, message)
        return self.reply(now_s, error_class, error)

    def reply(self, now_s: float, error_class: ErrorClass | None, error: str | None) -> Reply:
        """Return a reply with what has come so far, and with this error."""
        # A handle that was not launched again still holds what its last transfer came to.
        status = 0 if self._launched_s is None else self.curl.getinfo(pycurl.RESPONSE_CODE)
        connect_ms = None
        if self._launched_s is not None and self.connecting and self.is_connected():
            stands = pycurl.APPCONNECT_TIME_T if self.place.scheme == "https" else pycurl.CONNECT_TIME_T
            waited_s = self._launched_s - self.began_s
            connect_ms = round(waited_s * 1000 + self.curl.getinfo(stands) / 1000)
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        return Reply(
            duration_ms=round((now_s - self.began_s) * 1000),
            status=status if status >= 200 else None,
            headers=_parsed(self._lines) if status >= 200 else (),
            body=body[: self.request.kept_bytes],
            truncated=self._body_bytes > self.request.kept_bytes,
            connect_ms=connect_ms,
            error_class=error_class,
            error=error,
            unsent=self._socketless and error_class is ErrorClass.INTERNAL,
        )

    def release(self) -> None:
        """Let go of the request, so that the handle can wait for the next."""
        if len(self.request.body) > BODY_KEPT_BYTES and self._method != "GET":
            self.curl.setopt(pycurl.POSTFIELDS, b"")  # libcurl holds it, and many handles may wait
        del self.request, self.done
        self._drop_made()
        self._clear()

    def close(self) -> None:
        """Release the handle; it must not be with a multi handle any more."""
        self._drop_made()
        self.curl.close()

    def _clear(self) -> None:
        self._lines.clear()
        self._chunks.clear()
        self._header_bytes = self._body_bytes = 0
        self._headers_overflow = self._socketless = self.connecting = False
        self._launched_s = None
        self._refused: str | None = None
        self._socket_fault: str | None = None

    def _set_method(self, method: str) -> None:
        if method not in METHODS:
            raise ValueError("not a method that is sent")
        if method == "GET":
            self.curl.setopt(pycurl.HTTPGET, 1)
        else:
            self.curl.setopt(pycurl.POST, 1)
        if method in ("GET", "POST"):
            self.curl.unsetopt(pycurl.CUSTOMREQUEST)
        else:
            self.curl.setopt(pycurl.CUSTOMREQUEST, method)
        self._method = method

    def _error(self, code: int, message: str) -> tuple[ErrorClass, str]:
        if self._refused is not None:
            return ErrorClass.ADDRESS_REFUSED, f"{self.place.host} leads to a private IP address"
        if self._made is not None:  # no room even for libcurl's duplicate
            self._socket_fault = "no socket could be opened: Too many open files"
            self._socketless = True
        if self._socket_fault is not None:
            return ErrorClass.INTERNAL, self._socket_fault
        if self._headers_overflow:
            return ErrorClass.PROTOCOL, f"the answer's headers are longer than {HEADER_BYTES_MAX} bytes"
        error_class = _ERROR_CLASSES.get(code, ErrorClass.INTERNAL)
        if error_class is ErrorClass.CONNECT:
            number = self.curl.getinfo(pycurl.OS_ERRNO)
            why = os.strerror(number) if number else "no connection"
            return error_class, f"could not connect to {self.place.host}:{self.place.port}: {why}"
        return error_class, _one_line(message) or f"libcurl error {code}"

    def _open_socket(self, purpose: int, address: Any) -> Any:
        """Return a socket for a concrete address, or refuse it: the one place that no connection gets around."""
        try:
            self.connecting = True
            wanted = purpose == pycurl.SOCKTYPE_IPCXN and address.family in _FAMILIES
            if not wanted or not self._policy.allows(address.addr[0]):
                self._refused = str(address.addr[0])
                return pycurl.SOCKET_BAD
            self._made = socket.socket(address.family, address.socktype, address.protocol)
            return self._made
        except OSError as error:
            self._socket_fault = f"no socket could be opened: {error.strerror}"
            self._socketless = True
        except Exception as error:  # noqa: BLE001  pycurl would print it and go on
            self._socket_fault = f"the address check failed: {type(error).__name__}"
        return pycurl.SOCKET_BAD

    def _on_socket(self, descriptor: int, _purpose: int) -> int:
        """Let go of the socket that was made: libcurl has got a duplicate, which no child process is to inherit."""
        self._drop_made()
        os.set_inheritable(descriptor, False)
        self._opened(descriptor)
        return int(pycurl.SOCKOPT_OK)

    def _drop_made(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def _on_header(self, line: bytes) -> int | None:
        self._header_bytes += len(line)
        if self._header_bytes > HEADER_BYTES_MAX:
            self._headers_overflow = True
            return 0
        self._lines.append(line)
        return None

    def _on_body(self, chunk: bytes) -> int | None:
        if self._body_bytes < self.request.kept_bytes:
            self._chunks.append(chunk)
        self._body_bytes += len(chunk)
        return 0 if self._body_bytes > BODY_READ_BYTES else None


def _parsed(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    """Return the last answer's headers from the header lines of all: interim answers come first, trailers last."""
    text = b"".join(lines).decode("latin-1")
    fields = [line.partition(":") for line in text[text.rfind("\nHTTP/") + 1 :].split("\n")[1:]]
    return tuple([(name, value.strip()) for name, colon, value in fields if colon])


def _one_line(text: str) -> str:
    """Return text fit for one line: remote parties have a say in it, such as by the names in a certificate."""
    return "".join(c if c.isprintable() else " " for c in text[:_ERROR_LENGTH_MAX])
