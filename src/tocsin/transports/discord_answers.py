"""What Discord's answers mean.

Sources: Discord's documentation, "Rate Limits", "Opcodes and Status Codes" (JSON error codes), "Reference" (error
messages).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.transports.conversation import Verdict, asked_wait_s, failed, header, members, wait_of
from tocsin.transports.outbound import Reply

_UNKNOWN_CHANNEL = 10003
_GONE_CODES = frozenset({10008, 30046, 50005})
"""Unknown message; too many edits to an old one (even as a 429); a message of another author."""
_PATIENCE_CODES = frozenset({40003})
"""Direct messages are opened too fast: told with a status that means something else."""
_WALL_CODES = frozenset({40333})
"""Cloudflare, which stands before Discord, refuses the machine; nothing is said of the address."""
_RESOURCE_CODES_FROM = 10_000
"""Lower codes are general: a path that the API does not have, which is no fault of the destination."""

_MESSAGE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)
_CHANNEL_ID = re.compile(r"[0-9]{1,20}", re.ASCII)
_FAULTS_MAX = 8
_DEPTH_MAX = 12


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, read.

    Attributes:
        id: of the message, or of the channel that was opened; None where it tells none.
        is_message_gone: the message that was to be edited cannot be; another one can be sent.
        is_channel_gone: there is no such channel.
        is_global: the rest is for everything that this bot, or this machine without one, sends.
        is_walled: the rest is for everything that this machine sends.
        is_refusal: it counts towards shutting this machine out.
    """

    verdict: Verdict
    id: str | None = None
    is_message_gone: bool = False
    is_channel_gone: bool = False
    is_global: bool = False
    is_walled: bool = False
    is_refusal: bool = False


def read(reply: Reply, *, now_ms: int, by_bot: bool = False, edits: bool = False, opens: bool = False) -> Answer:
    """Return what an answer says.

    Args:
        by_bot: it was asked at the API's base, which the operator chose, rather than at a webhook's own URL.
        edits: a message was to be edited.
        opens: a channel to a person was to be opened.
    """
    unanswered = failed(reply)
    if unanswered is not None:
        return Answer(verdict=unanswered)
    status = reply.status
    assert status is not None
    body = members(reply.body)
    told = {} if body is None else body
    code = told.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else None
    rest_s = _rest_s(reply)
    if 200 <= status < 300:
        wanted = _CHANNEL_ID if opens else _MESSAGE_ID
        # Opening a channel has a limit of its own, and is not done again.
        return Answer(verdict=Verdict(rest_s=0.0 if opens else rest_s), id=_id(told.get("id"), wanted))
    error = _error(status, told)
    is_refusal = status in (401, 403) or (status == 429 and header(reply, "x-ratelimit-scope") != "shared")
    is_gone = edits and (code in _GONE_CODES or (status == 404 and code is None))
    if (status == 429 or code in _PATIENCE_CODES) and not is_gone:
        return _patience(reply, body, error, is_refusal=is_refusal, now_ms=now_ms)
    final, dead = _finality(status, code, in_form="message" in told, by_bot=by_bot, opens=opens)
    return Answer(
        verdict=Verdict(error_class=ErrorClass.STATUS, error=error, rest_s=rest_s, final=final, dead=dead),
        is_message_gone=is_gone,
        is_channel_gone=status == 404 and code == _UNKNOWN_CHANNEL,
        is_refusal=is_refusal,
    )


def _rest_s(reply: Reply) -> float:
    """Return for how long the limit on this address is used up."""
    if header(reply, "x-ratelimit-remaining") != "0":
        return 0.0
    return wait_of(header(reply, "x-ratelimit-reset-after")) or 0.0


def _patience(reply: Reply, body: dict[str, Any] | None, error: str, *, is_refusal: bool, now_ms: int) -> Answer:
    told = {} if body is None else body
    wait_s = asked_wait_s(reply, told.get("retry_after"), now_ms=now_ms)
    scope = header(reply, "x-ratelimit-scope")
    is_global = told.get("global") is True or scope == "global" or header(reply, "x-ratelimit-global") == "true"
    return Answer(
        verdict=Verdict(error_class=ErrorClass.STATUS, error=error, wait_s=wait_s, counted=False, rest_s=wait_s),
        is_global=is_global,
        is_walled=body is None,
        is_refusal=is_refusal,
    )


def _finality(status: int, code: int | None, *, in_form: bool, by_bot: bool, opens: bool) -> tuple[bool, bool]:
    """Return whether a refusal is final, and whether the address is dead.

    What is not in Discord's form comes from something before it, and nobody who knows the address has spoken. At a
    webhook's URL that counts for 403 alone, which firewalls like; a 401 or 404 there says enough.
    """
    if status == 403:
        dead = in_form and code not in _WALL_CODES
        return dead, dead
    if status in (401, 404, 410):
        dead = in_form if status == 401 else (code or 0) >= _RESOURCE_CODES_FROM
        dead = dead or not by_bot
        return dead, dead
    # The request to open a channel holds nothing but the address.
    return status != 408 and 400 <= status < 500, opens and status == 400


def _error(status: int, told: dict[str, Any]) -> str:
    """Return what Discord says, with each fault and where it lies, for one line."""
    message = told.get("message")
    if not isinstance(message, str) or not message:
        return f"Discord answered {status}"
    faults: list[str] = []
    for place, text in _faults(told.get("errors"), (), _DEPTH_MAX):
        if len(faults) == _FAULTS_MAX:
            faults.append("\u2026")
            break
        faults.append(f"{place}: {text}" if place else text)
    return f"Discord answered {status}: {message}" + (f" ({'; '.join(faults)})" if faults else "")


def _faults(tree: Any, path: tuple[str, ...], depth_left: int) -> Iterator[tuple[str, str]]:
    """Yield the faults of an ``errors`` tree: members named as the request's, at whose ends lie ``_errors``."""
    if not isinstance(tree, dict) or not depth_left:
        return
    for name, below in tree.items():
        if name != "_errors":
            yield from _faults(below, (*path, name), depth_left - 1)
        elif isinstance(below, list):
            for each in below:
                if isinstance(each, dict) and isinstance(each.get("message"), str):
                    yield ".".join(path), each["message"]


def _id(value: Any, wanted: re.Pattern[str]) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64 else value
    return text if isinstance(text, str) and wanted.fullmatch(text) is not None else None
