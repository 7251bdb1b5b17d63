"""Telegram's refusals, in its own words.

Source: Telegram Bot API, "Making requests" and "ResponseParameters"; the descriptions are those that bots report.
"""

from __future__ import annotations

import math
from typing import Any

from starlette.responses import HTMLResponse, JSONResponse, Response

from tocsin.fakes.script import Answer

CHAT_EMPTY = "Bad Request: chat_id is empty"
CHAT_UNKNOWN = "Bad Request: chat not found"
TEXT_EMPTY = "Bad Request: message text is empty"
TEXT_TOO_LONG = "Bad Request: message is too long"
PARSE_MODE = "Bad Request: unsupported parse_mode"
NOT_JSON = "Bad Request: can't parse JSON object"
NOT_FOUND_TO_EDIT = "Bad Request: message to edit not found"
NOT_MODIFIED = (
    "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
OTHER_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
_UPGRADED = "Bad Request: group chat was upgraded to a supergroup chat"
_USUAL = {
    400: CHAT_UNKNOWN,
    401: "Unauthorized",
    403: "Forbidden: bot was blocked by the user",
    404: "Not Found",
    409: OTHER_POLL,
    413: "Request Entity Too Large",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
}


def fault(status: int, description: str | None = None, parameters: dict[str, Any] | None = None) -> Response:
    """Return a refusal."""
    body: dict[str, Any] = {
        "ok": False,
        "error_code": status,
        "description": description or _USUAL.get(status, "Internal Server Error"),
    }
    if parameters is not None:
        body["parameters"] = parameters
    return JSONResponse(body, status)


def scripted(answer: Answer) -> Response:
    """Return what a script asks for."""
    status = answer.status or 400
    if answer.html:
        return HTMLResponse(f"<html><h1>{status}</h1></html>", status)
    if answer.migrate_to_chat_id is not None:
        return fault(400, answer.message or _UPGRADED, {"migrate_to_chat_id": answer.migrate_to_chat_id})
    if status == 429:
        # Telegram tells whole seconds.
        after_s = math.ceil(answer.retry_after)
        response = fault(429, answer.message or f"Too Many Requests: retry after {after_s}", {"retry_after": after_s})
        response.headers["Retry-After"] = str(after_s)
        return response
    return fault(status, answer.message)
