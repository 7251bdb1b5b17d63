"""The parts of Telegram's Bot API by which a bot finds out in which chat it is wanted.

Sources: Telegram Bot API, "getMe", "getWebhookInfo", "getUpdates", "sendMessage", "Making requests".
"""

from __future__ import annotations

import asyncio
import re
from enum import StrEnum
from typing import Any

import msgspec

from tocsin.transports.conversation import PATIENCE_S, Veil, members, wait_of
from tocsin.transports.outbound import Reply, Request, Sends

_ANSWER_S = 10.0
"""How long an answer may take beyond what was asked to be waited for."""
_KEPT_BYTES = 1024 * 1024
_UPDATES_MAX = 8
"""In one answer, so that the longest messages there are fit into what is read of it."""
_TOKEN = re.compile(r"[A-Za-z0-9.:_-]{1,256}", re.ASCII)
_USERNAME = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
_ERROR_CHARACTERS_MAX = 200


class BotFaultKind(StrEnum):
    """What a failure of the Bot API means for whoever asked."""

    REFUSED = "refused"
    """Telegram does not know the bot, or not any more, or refuses what was asked."""
    CONFLICT = "conflict"
    """What people write to the bot goes to somebody else: a webhook, or another program that asks for it."""
    UNAVAILABLE = "unavailable"
    """Nothing was answered, or that it is to be tried again later."""


class BotFault(Exception):
    """A request to the Bot API failed.

    Attributes:
        text: one line for a person, without the bot's token.
        wait_s: how long Telegram wants to be left alone; None where it does not say.
    """

    def __init__(self, kind: BotFaultKind, text: str, wait_s: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.wait_s = wait_s


class Said(msgspec.Struct, frozen=True):
    """A message that somebody wrote to a bot.

    Attributes:
        update_id: rises from message to message.
        chat_id: None for what came from no chat.
        text: empty for a message without one.
    """

    update_id: int
    chat_id: int | None
    text: str


class TelegramBots:
    """Asks the Bot API on behalf of any bot.

    Args:
        client: what sends to ``api_base``, which the operator chose.
        api_base: where the Bot API is, no slash at its end.
    """

    def __init__(self, client: Sends, api_base: str) -> None:
        self._client = client
        self._base = api_base

    async def username(self, token: str) -> str:
        """Return the bot's name, as it stands in its links.

        Raises:
            BotFault: Telegram does not know the token, or did not answer.
        """
        told = await self._ask(token, "getMe", {})
        name = told.get("username") if isinstance(told, dict) else None
        if not isinstance(name, str) or _USERNAME.fullmatch(name) is None:
            raise _unreadable("getMe")
        return name

    async def has_webhook(self, token: str) -> bool:
        """Return whether what people write to the bot goes to a webhook, so that nobody can ask for it.

        Raises:
            BotFault: Telegram does not know the token, or did not answer.
        """
        told = await self._ask(token, "getWebhookInfo", {})
        return isinstance(told, dict) and bool(told.get("url"))

    async def updates(self, token: str, *, offset: int | None, wait_s: int) -> list[Said]:
        """Return what was written to the bot, in order; empty when nothing was within ``wait_s`` seconds.

        Args:
            offset: the first update that is of interest; Telegram forgets those before. None is the oldest that it
                has.

        Raises:
            BotFault: of kind ``CONFLICT``, where somebody else is told.
        """
        asked: dict[str, Any] = {"timeout": wait_s, "limit": _UPDATES_MAX, "allowed_updates": ["message"]}
        if offset is not None:
            asked["offset"] = offset
        told = await self._ask(token, "getUpdates", asked, wait_s=wait_s)
        if not isinstance(told, list):
            raise _unreadable("getUpdates")
        return [said for each in told if (said := _said(each)) is not None]

    async def say(self, token: str, chat_id: int, text: str) -> None:
        """Write a plain text into a chat.

        Raises:
            BotFault: it could not be written.
        """
        said = {"chat_id": chat_id, "text": text, "link_preview_options": {"is_disabled": True}}
        await self._ask(token, "sendMessage", said)

    async def _ask(self, token: str, method: str, body: dict[str, Any], *, wait_s: int = 0) -> Any:
        if _TOKEN.fullmatch(token) is None:
            raise BotFault(BotFaultKind.REFUSED, "the bot's token has not the form of one")
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        request = Request(
            "POST",
            f"{self._base}/bot{token}/{method}",
            (("Content-Type", "application/json"),),
            msgspec.json.encode(body),
            wait_s + _ANSWER_S,
            _KEPT_BYTES,
        )
        self._client.send(request, lambda reply: None if answer.done() else answer.set_result(reply))
        return _result(method, await answer, Veil(token, token.partition(":")[2]))


def _result(method: str, reply: Reply, veil: Veil) -> Any:
    """Return what a method tells.

    Raises:
        BotFault: it tells a fault, or nothing that can be read.
    """
    if reply.error_class is not None or reply.status is None:
        raise BotFault(BotFaultKind.UNAVAILABLE, f"Telegram did not answer: {veil.line(reply.error or 'no answer')}")
    told = None if reply.truncated else members(reply.body)
    if told is None or not isinstance(told.get("ok"), bool):
        raise _unreadable(method, reply.status)
    if told["ok"]:
        return told.get("result")
    code = told.get("error_code")
    status = code if isinstance(code, int) else reply.status
    description = told.get("description")
    said = veil.line(description)[:_ERROR_CHARACTERS_MAX] if isinstance(description, str) else ""
    text = f"Telegram answered {status}" + (f": {said}" if said else "")
    if status == 429:
        parameters = told.get("parameters")
        asked_s = wait_of(parameters.get("retry_after")) if isinstance(parameters, dict) else None
        raise BotFault(BotFaultKind.UNAVAILABLE, text, PATIENCE_S if asked_s is None else asked_s)
    if status == 409:
        raise BotFault(BotFaultKind.CONFLICT, text)
    raise BotFault(BotFaultKind.REFUSED if 400 <= status < 500 else BotFaultKind.UNAVAILABLE, text)


def _unreadable(method: str, status: int | None = None) -> BotFault:
    told = "" if status is None else f" with status {status}"
    return BotFault(BotFaultKind.UNAVAILABLE, f"what answered {method}{told} is not Telegram's Bot API")


def _said(update: Any) -> Said | None:
    """Return an update, read; None for one without an id."""
    update_id = update.get("update_id") if isinstance(update, dict) else None
    if not isinstance(update_id, int) or isinstance(update_id, bool):
        return None
    message = update.get("message")
    message = message if isinstance(message, dict) else {}
    chat, text = message.get("chat"), message.get("text")
    chat_id = chat.get("id") if isinstance(chat, dict) else None
    is_chat = isinstance(chat_id, int) and not isinstance(chat_id, bool) and abs(chat_id) < 2**63
    return Said(update_id, chat_id if is_chat else None, text if isinstance(text, str) else "")
