"""One connection: uvicorn's protocol, with bounds on what it reads and writes, and without its leniencies."""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from typing import NoReturn

import httptools
import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tocsin.web.body import BODY_IS_HERE
from tocsin.web.joined_writes import JoinedWrites
from tocsin.web.streaming import CONNECTION, Pieces

_SLICE_BYTES = 4096
"""What is parsed at a time: as many requests as it holds may wait beyond the limit."""
_BAD_REQUEST = b"400 Bad Request"
_TIMEOUT = b"408 Request Timeout"
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
_NOT_IMPLEMENTED = b"501 Not Implemented"
_UNAVAILABLE = b"503 Service Unavailable"
_VERSION_NOT_SUPPORTED = b"505 HTTP Version Not Supported"


class ServerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of connections.

    Attributes:
        head_deadline_s: until a request's head is complete, from the connection or its first byte.
        body_deadline_s: from the head to the last byte of the body.
        head_bytes_max: request line and headers.
        headers_max: header lines.
        bodies_bytes_max: bodies in memory at once, of all requests that did not come in one piece; above it 503.
        pipelined_max: requests that wait on one connection for the one before; no more are read while so many do.
        idle_s: how long a kept connection may be idle.
        unread_s: how long a client may read nothing of its answer.
        connections_max: open connections; further ones are answered 503.
        drain_s: at shutdown, how long kept connections are told to close before they are closed.
        shutdown_s: at shutdown, how long requests under way may take, and behind them attempts; readers of streams
            have half of it to read what waits for them.
    """

    head_deadline_s: float = 10.0
    body_deadline_s: float = 10.0
    head_bytes_max: int = 65_536
    headers_max: int = 100
    bodies_bytes_max: int = 134_217_728
    pipelined_max: int = 64
    idle_s: float = 30.0
    unread_s: float = 30.0
    connections_max: int = 8_192
    drain_s: float = 0.3
    shutdown_s: float = 4.0


class _Flow(FlowControl):
    """uvicorn's flow control, which goes on reading at the next occasion, with a way to keep it from that."""

    _blocked = False

    def block_reading(self) -> None:
        """Read nothing until ``unblock_reading``."""
        self._blocked = True
        self.pause_reading()

    def unblock_reading(self) -> None:
        """Go on reading."""
        self._blocked = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Go on reading, unless it is blocked."""
        if self.read_paused and not self._blocked:
            super().resume_reading()


class BoundedConnection(HttpToolsProtocol):
    """Reads requests and writes answers.

    uvicorn bounds neither heads nor what stands around the chunks of a body, waits for ever for both and for clients
    that read nothing, queues as many requests as come, takes trailers for headers, and loses the body of a request
    that offers another protocol (as Java's client does with every one).
    """

    limits: ServerLimits
    flow: _Flow

    _held = b""
    """Received, and not parsed yet."""
    _head_timer: TimerHandle | None = None
    _unread_timer: TimerHandle | None = None
    _refusal: bytes | None = None
    _pieces: Pieces | None = None
    """Of the streaming answer that is being sent."""
    _ending_streams = False
    _cut_timer: TimerHandle | None = None
    """Cuts a streaming answer whose reader does not come to its end."""
    _in_head = False
    _offers_upgrade = False
    _hosts = 0
    _slice_bytes = 0
    _unfinished_bytes = 0
    """Parsed since the last end of a head or piece of a body: what is being read is so long, or a slice less."""

    # -- the connection ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._writes = JoinedWrites(transport, self.loop)
        super().connection_made(self._writes)
        self.flow = _Flow(self._writes)
        if len(self.connections) > self.limits.connections_max:
            self._refuse(_UNAVAILABLE)
        else:
            self._arm_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm_head_timer()
        self._disarm_unread_timer()
        self._disarm_cut_timer()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        if self._pieces is not None:
            self._pieces.lost()

    def data_received(self, data: bytes) -> None:
        self._held += data
        self._read_on()

    def _read_on(self) -> None:
        """Parse what was received, in slices, and hold the rest back while enough requests wait."""
        self._unset_keepalive_if_required()
        data, self._held = self._held, b""
        try:
            for at in range(0, len(data), _SLICE_BYTES):
                if len(self.pipeline) >= self.limits.pipelined_max:
                    self._held = data[at:]
                    self.flow.block_reading()
                    return
                part = data[at : at + _SLICE_BYTES]
                self._slice_bytes = len(part)
                self._unfinished_bytes += self._slice_bytes
                self._parse(part)
                if self._unfinished_bytes > self.limits.head_bytes_max + _SLICE_BYTES:
                    self._refuse(_HEAD_TOO_LARGE)
                    return
        except httptools.HttpParserError:
            self._refuse(self._refusal or _BAD_REQUEST)
            return
        if self._head_timer is None and (self._in_head or self._is_idle()):
            self._arm_head_timer()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            # The parser takes what follows for the other protocol. An offer may be passed over (RFC 9110, section
            # 7.8): the head is read again without it, and what follows is the body.
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
            lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self._parse(b"\r\n".join([*lines, b"", b""]) + data[offer.args[0] :])

    # -- what the parser tells --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._hosts = 0
        self._unfinished_bytes = self._slice_bytes

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            # A trailer must not pass for a header (RFC 9110, section 6.5.1): whoever checks headers did not see it.
            return
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect" and value.strip().lower() == b"100-continue":
            self.expect_100_continue = True
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            self._stop(_NOT_IMPLEMENTED)
        self.headers.append((name, value))
        if len(self.headers) > self.limits.headers_max:
            self._stop(_HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._unfinished_bytes > self.limits.head_bytes_max and self._head_bytes() > self.limits.head_bytes_max:
            self._stop(_HEAD_TOO_LARGE)
        self._unfinished_bytes = 0
        self._disarm_head_timer()
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(_VERSION_NOT_SUPPORTED)
        if self._hosts > 1 or (not self._hosts and version == "1.1"):
            self._stop(_BAD_REQUEST)
        self._offers_upgrade = self.parser.should_upgrade()
        if not self._offers_upgrade:
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            self._stop(_NOT_IMPLEMENTED)

    def on_chunk_header(self) -> None:
        self._unfinished_bytes = 0

    def on_body(self, body: bytes) -> None:
        self._unfinished_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._offers_upgrade:
            self.scope[BODY_IS_HERE] = True  # type: ignore[typeddict-unknown-key]
            self.scope[CONNECTION] = self  # type: ignore[typeddict-unknown-key]
            super().on_message_complete()

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _stop(self, status: bytes) -> NoReturn:
        """Make the parser stop; whoever fed it refuses the request."""
        self._refusal = status
        raise ValueError(status)

    # -- streaming answers ------------------------------------------------------------------------------

    def begin_stream(self, pieces: Pieces) -> None:
        """Tell these pieces when the server shuts down, and when the client has gone."""
        self._pieces = pieces
        if self._ending_streams:
            self._end_pieces(pieces)
        if self.transport.is_closing():
            pieces.lost()

    def end_stream(self) -> None:
        """Tell them nothing more."""
        self._disarm_cut_timer()
        self._pieces = None

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def end_streams(self) -> None:
        """Bring the streaming answer to its end, now and any that follows. Idempotent."""
        if not self._ending_streams:
            self._ending_streams = True
            if self._pieces is not None:
                self._end_pieces(self._pieces)

    def shutdown(self) -> None:
        """Begin to end: uvicorn's call at a shutdown."""
        super().shutdown()
        self.end_streams()

    def _end_pieces(self, pieces: Pieces) -> None:
        # Its own patience may be longer than the shutdown's; or it had ended before, and its reader reads nothing.
        self._cut_timer = self.loop.call_later(self.limits.shutdown_s / 2, self.abort)
        pieces.shut_down()

    def _disarm_cut_timer(self) -> None:
        if self._cut_timer is not None:
            self._cut_timer.cancel()
            self._cut_timer = None

    # -- refusing ---------------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        """Return whether every request so far has its answer."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _refuse(self, status: bytes) -> None:
        """Tell what is wrong where the next answer is this request's, and end the connection behind the others."""
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle = self.cycle
        alone = self._is_idle() or (cycle.more_body and not cycle.response_started and not self.pipeline)
        if alone:
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            self.transport.close()
        elif cycle.more_body:
            self.transport.close()
        else:
            cycle.keep_alive = False
            self._held = b""
            self.flow.block_reading()

    def _arm_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(self.limits.head_deadline_s, self._head_too_slow)

    def _disarm_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_too_slow(self) -> None:
        self._head_timer = None
        if self._in_head:
            self._refuse(_TIMEOUT)
        else:
            # Nothing came, or nothing but the rest of a body that nobody wants.
            self.transport.close()

    # -- clients that do not read -----------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        self._disarm_unread_timer()
        super().resume_writing()

    def on_response_complete(self) -> None:
        self._writes.flush()
        super().on_response_complete()
        if self.transport.is_closing():
            # It closes when all is sent, and not before.
            self._watch_unread()
        elif self._held and len(self.pipeline) < self.limits.pipelined_max:
            self.flow.unblock_reading()
            self._read_on()

    def timeout_keep_alive_handler(self) -> None:
        self.transport.close()
        self._watch_unread()

    def _watch_unread(self) -> None:
        if self._unread_timer is None:
            unread_bytes = self.transport.get_write_buffer_size()
            self._unread_timer = self.loop.call_later(self.limits.unread_s, self._check_unread, unread_bytes)

    def _check_unread(self, before_bytes: int) -> None:
        self._unread_timer = None
        if self.transport.get_write_buffer_size() >= before_bytes:
            self.transport.abort()
        else:
            self._watch_unread()

    def _disarm_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
