"""What Telegram's answers mean.

Sources: Telegram Bot API, "Making requests", "ResponseParameters"; the descriptions are those that its server writes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tocsin.core.delivery import ErrorClass
from tocsin.transports.conversation import Verdict, asked_wait_s, failed, members
from tocsin.transports.outbound import Reply

_SAME = "message is not modified"
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid", "message identifier is not")
_NO_CHAT = ("chat not found", "peer_id_invalid")
_ID_MAX = 2**63


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, read.

    Attributes:
        message_id: of the message that was sent; None where it tells none.
        chat_id: what the chat has become; None where it has not.
        is_gone: the message that was to be edited cannot be; another one can be sent.
    """

    verdict: Verdict
    message_id: int | None = None
    chat_id: int | None = None
    is_gone: bool = False


def read(reply: Reply, *, now_ms: int, edits: bool = False) -> Answer:
    """Return what an answer says.

    Args:
        edits: a message was to be edited.
    """
    unanswered = failed(reply)
    if unanswered is not None:
        return Answer(verdict=unanswered)
    status = reply.status
    assert status is not None
    told = members(reply.body)
    in_form = told is not None and isinstance(told.get("ok"), bool)
    told = {} if told is None else told
    code = told.get("error_code")
    if told.get("ok") is False and isinstance(code, int) and not isinstance(code, bool):
        status = code
    elif 200 <= status < 300 and told.get("ok") is not False:
        result = told.get("result")
        found = result.get("message_id") if isinstance(result, dict) else None
        return Answer(verdict=Verdict(), message_id=_whole(found))
    return _refused(reply, told, status, in_form=in_form, edits=edits, now_ms=now_ms)


def _refused(reply: Reply, told: dict[str, Any], status: int, *, in_form: bool, edits: bool, now_ms: int) -> Answer:
    description = told.get("description")
    description = description if isinstance(description, str) else ""
    parameters = told.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    error = f"Telegram answered {status}" + (f": {description}" if description else "")
    words = description.lower()
    if status == 429:
        wait_s = asked_wait_s(reply, parameters.get("retry_after"), now_ms=now_ms)
        return Answer(
            verdict=Verdict(error_class=ErrorClass.STATUS, error=error, wait_s=wait_s, counted=False, rest_s=wait_s)
        )
    if edits and status == 400 and _SAME in words:
        return Answer(verdict=Verdict())
    # What is not in Telegram's form comes from something before it, which knows neither bot nor chat.
    final = in_form and 400 <= status < 500 and status != 408
    dead = final and (status in (401, 403, 404) or (status == 400 and any(each in words for each in _NO_CHAT)))
    return Answer(
        verdict=Verdict(error_class=ErrorClass.STATUS, error=error, final=final, dead=dead),
        chat_id=_whole(parameters.get("migrate_to_chat_id")) if status == 400 else None,
        is_gone=edits and status == 400 and any(each in words for each in _GONE),
    )


def _whole(value: Any) -> int | None:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _ID_MAX
    return value if is_whole else None
