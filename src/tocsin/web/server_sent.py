"""The text of server-sent events: ``text/event-stream``.

Source: the HTML standard, section 9.2 (server-sent events), its grammar and its rules for a stream's interpretation.
"""

from __future__ import annotations

CONTENT_TYPE = (b"content-type", b"text/event-stream")
UNBUFFERED = (b"x-accel-buffering", b"no")
"""Asks nginx, and those who learnt it from there, to pass every piece on at once."""

KEEP_ALIVE = b": keep-alive\n\n"
"""A comment: readers pass it over, and whatever stands between sees that the connection is in use."""


def message(mark: str, name: str, data: bytes) -> bytes:
    """Return a message.

    Args:
        mark: its id.
        data: UTF-8; may hold line ends, each of which arrives as a line feed.
    """
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"))
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (mark.encode("ascii"), name.encode("ascii"), data)


def position(mark: str) -> bytes:
    """Return what tells a reader where to go on, and is no message: one without data is not dispatched."""
    return b"id: %b\n\n" % mark.encode("ascii")


def retry(after_ms: int) -> bytes:
    """Return what tells a reader when to come again after its connection broke."""
    return b"retry: %d\n" % after_ms
