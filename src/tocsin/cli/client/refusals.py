"""What a gateway's error says, whichever dialect's form it has: one line, and the next step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tocsin.cli.exits import REFUSED
from tocsin.cli.faults import Failure, status_for, visible

_TEXT_CHARACTERS_MAX = 500
_WRONG_SIGNATURE = "Invalid signature"
_MISSING_SCOPE = "lacks the scope"
"""PromptJang's errors have no code: these are known by their texts."""
_NOT_CONFIGURED = "in your account settings"
"""PingPilot's have none either: so end both refusals of an account whose people cannot be told of anything."""
_OF_CONTENT = frozenset({"category_limit_reached"})
"""Codes of a 403 that no other key would change."""


def refusal(status: int, headers: Mapping[str, str], body: bytes, *, has_key: bool) -> Failure:
    """Return an answer of 300 or more as the failure of a command.

    Args:
        headers: names in lower case.
        has_key: whether the request carried a key.
    """
    reason = error_text(body) or f"the gateway answered {status}"
    code = error_code(body)
    step = _next_step(status, headers, code, reason, has_key=has_key)
    of_content = status == 403 and (code in _OF_CONTENT or _NOT_CONFIGURED in reason)
    return Failure(
        REFUSED if of_content else status_for(status), visible(f"{reason} ({status}){'; ' + step if step else ''}")
    )


def error_text(body: bytes) -> str:
    """Return what an error's body says, or an empty text where it says nothing.

    Source: docs/errors.md, the table of forms.
    """
    try:
        told = json.loads(body)
    except ValueError:
        return _shortened(body.decode("utf-8", "replace").strip()) if body[:1] != b"<" else ""
    if not isinstance(told, dict):
        return ""
    text = next((told[name] for name in ("detail", "error", "message") if isinstance(told.get(name), str)), "")
    issues = _zod_issues(text)
    if issues:
        return _shortened("; ".join(issues))
    fields = [*_fields(told.get("fields")), *_fields(told.get("invalidFields"))]
    missing = [field for field in fields if field not in text]
    return _shortened(f"{text}: {'; '.join(missing)}" if missing else text)


def error_code(body: bytes) -> str | None:
    """Return the stable code of an error's body, where its form has one."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    codes = (told.get(name) for name in ("code", "error_code", "errorCode", "name")) if isinstance(told, dict) else ()
    return next((code for code in codes if isinstance(code, str)), None)


def _zod_issues(text: str) -> list[str]:
    """Return the issues of PingPilot's 422, whose message is itself a JSON array."""
    if not text.startswith("["):
        return []
    try:
        issues = json.loads(text)
    except ValueError:
        return []
    told = []
    for issue in issues:
        if isinstance(issue, dict) and isinstance(issue.get("message"), str):
            path = ".".join(str(part) for part in issue.get("path") or ())
            told.append(f"{path}: {issue['message']}" if path else issue["message"])
    return told


def _fields(given: Any) -> list[str]:
    """Return the faulty fields, as native routes and Native Frame name them."""
    fields = given if isinstance(given, list) else []
    return [f"{field.get('name')} {field.get('reason')}" for field in fields if isinstance(field, dict)]


def _next_step(status: int, headers: Mapping[str, str], code: str | None, reason: str, *, has_key: bool) -> str:
    if status == 401 and reason == _WRONG_SIGNATURE:
        return "is it the endpoint's secret, and is the clock right here?"
    if status == 401:
        known = "this key is not known there" if has_key else "no key was given"
        return f"{known}: give one with --key, TOCSIN_KEY or tocsin profile add; tocsin init prints the first ones"
    if status == 403 and (code == "missing_scope" or _MISSING_SCOPE in reason):
        return "use a key with that scope; tocsin keys create --scope makes one"
    if status == 403 and _NOT_CONFIGURED in reason:
        return "tocsin account replace sets them; tocsin account show shows them"
    if 300 <= status < 400:
        return f"it redirects to {headers.get('location', 'nowhere')}; if that is right, give it as --url"
    wait = headers.get("retry-after")
    if status in (429, 503) and wait:
        return f"try again in {wait} s"
    return ""


def _shortened(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[:_TEXT_CHARACTERS_MAX] + "..."
