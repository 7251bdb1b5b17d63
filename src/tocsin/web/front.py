"""The page that a browser gets at the root."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files

from tocsin.web.http import Response

_VERSION = "{{version}}"


class FrontPage:
    """Names the version, the APIs and where to read on; ``front.html`` beside this file is its text.

    Args:
        version: of the program.
    """

    def __init__(self, *, version: str) -> None:
        page = files("tocsin.web").joinpath("front.html").read_text("utf-8")
        style = page.partition("<style>")[2].partition("</style>")[0]
        self._body = page.replace(_VERSION, html.escape(version)).encode()
        self._headers = (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy(style).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            # What a browser keeps would outlive an upgrade.
            (b"cache-control", b"no-cache"),
        )

    def response(self) -> Response:
        """Return a new answer that shows it."""
        return Response(status=200, body=self._body, headers=list(self._headers))


def policy(style: str, *, form_action: str = "'none'") -> str:
    """Return a policy under which this one style applies, and nothing runs, loads, is sent or is framed.

    Args:
        form_action: where a form of the page may be sent after all.

    Source: Content Security Policy Level 3, section 2.3.1, for the hash.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action {form_action}; "
        "frame-ancestors 'none'"
    )
