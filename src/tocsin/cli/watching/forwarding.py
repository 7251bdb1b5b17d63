"""Forwarding events to a URL of this machine, signed as the gateway signs webhooks."""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tocsin import __version__
from tocsin.cli.client.secret_input import SIGNING_SECRET
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure
from tocsin.core.signature import SECRET_BYTES, make_secret, sign_standard, standard_key

_ANSWER_BYTES_MAX = 1024 * 1024


class Content(NamedTuple):
    """What an event carries, byte for byte.

    Attributes:
        media: its content type.
    """

    body: bytes
    media: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request.

    Attributes:
        status: of the answer, or None where none came; then ``error`` says why.
    """

    status: int | None
    elapsed_ms: float
    error: str | None = None


class Forwarder:
    """Sends events to one URL.

    Args:
        secret: as Standard Webhooks writes it.
        timeout_s: of each request.

    Raises:
        Failure: the URL or the secret cannot be used.
    """

    def __init__(self, url: str, secret: str, *, timeout_s: float) -> None:
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            parts, fine = urlsplit(""), False
        if not fine or "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
            raise Failure(USAGE, "--forward-to must be http:// or https://, a host, and perhaps a port and a path")
        key = standard_key(secret)
        if key is None:
            raise Failure(USAGE, f"{SIGNING_SECRET} must be whsec_ and the base64 of 24 to 64 bytes")
        self.url = parts.geturl()
        self._key = key
        self._parts = parts
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._timeout_s = timeout_s

    def send(self, event_id: str, content: Content) -> Reply:
        """Send an event's content, signed as of now."""
        now_s = int(time.time())
        headers = {
            "Content-Type": content.media,
            "User-Agent": f"tocsin/{__version__}",
            "webhook-id": event_id,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign_standard(self._key, event_id, now_s, content.body),
        }
        kind = HTTPSConnection if self._parts.scheme == "https" else HTTPConnection
        started_s = time.monotonic()
        # One for each: what runs here is restarted often, and a kept connection would fail after each time.
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=self._timeout_s)
        status: int | None = None
        error: str | None = None
        try:
            connection.request("POST", self._target, content.body, headers)
            response = connection.getresponse()
            status = response.status
            response.read(_ANSWER_BYTES_MAX)
        except (OSError, HTTPException) as fault:
            error = "timed out" if isinstance(fault, TimeoutError) else getattr(fault, "strerror", None) or str(fault)
            error = error or type(fault).__name__
        finally:
            connection.close()
        return Reply(status, round((time.monotonic() - started_s) * 1000, 1), error)


def content_of(event: Mapping[str, Any]) -> Content:
    """Return what an event of the stream carries, which was asked for with its data raw."""
    return Content(b64decode(event["data_base64"]), event["content_type"])


def kept_secret() -> str:
    """Return the secret that forwarded events are signed with: that of the environment, else one that is kept.

    Raises:
        Failure: it cannot be kept.
    """
    given = os.environ.get(SIGNING_SECRET, "")
    if given:
        return given
    state = os.environ.get("XDG_STATE_HOME", "")
    home = Path(state) if state and Path(state).is_absolute() else Path.home() / ".local" / "state"
    place = home / "tocsin" / "listen.secret"
    try:
        if place.exists():
            return place.read_text("ascii").strip()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        secret = make_secret(os.urandom(SECRET_BYTES))
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(USAGE, f"{place} cannot be used: {error}; or give the secret in {SIGNING_SECRET}") from error
    return secret


def row_of(event: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """Return what is printed of a forwarded event."""
    return {
        "event_id": event["id"],
        "type": event.get("type") or event.get("event_type"),
        "status_code": reply.status,
        "elapsed_ms": reply.elapsed_ms,
        "error": reply.error,
    }
