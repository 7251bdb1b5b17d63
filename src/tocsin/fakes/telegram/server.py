"""A fake of Telegram's Bot API.

It knows every bot whose token has the right form, and every chat with a number or an ``@name``. A user of it exists
only as what a test, or a person at the page, lets them write.

Source: Telegram Bot API, "sendMessage", "editMessageText", "deleteMessage", "getMe", "getUpdates", "getWebhookInfo".
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.responses import JSONResponse, Response

from tocsin.core.clock import Clock
from tocsin.fakes.arrivals import KEPT_MAX, Received
from tocsin.fakes.remote import Remote
from tocsin.fakes.script import Answer, BadScript
from tocsin.fakes.telegram import faults
from tocsin.fakes.telegram.updates import LIMIT_MAX, Updates

TEXT_UNITS_MAX = 4096
"""UTF-16 code units; whether Telegram counts these or characters is not agreed upon, and these are never fewer."""
BOT_NAME = "tocsin_fake_bot"
_POLL_S_MAX = 50
_PATH = re.compile(r"/bot(?P<token>[^/]+)/(?P<method>[A-Za-z]+)")
_TOKEN = re.compile(r"[1-9][0-9]{0,19}:[A-Za-z0-9_-]{1,64}")
_CHAT = re.compile(r"-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]*")
_PARSE_MODES = ("", "HTML", "Markdown", "MarkdownV2")


class TelegramMessage(msgspec.Struct, kw_only=True):
    """A message in a chat.

    Attributes:
        at_s: when it came, on the monotonic clock.
        bot: the token of the bot that it is from, or to.
        by_user: whether a user wrote it.
    """

    id: int
    at_s: float
    chat_id: str
    bot: str | None
    text: str
    created_ms: int
    by_user: bool = False
    edited_ms: int | None = None
    edits: int = 0


class _Said(msgspec.Struct, forbid_unknown_fields=True):
    """What a user writes.

    Attributes:
        token: of ``/start``: the payload of the deep link that they followed.
        bot: the token of the one bot that is to know of it; None is all.
    """

    token: str = ""
    text: str = ""
    chat_id: int = 42
    username: str | None = "ada"
    bot: str | None = None


class _Orders(msgspec.Struct, forbid_unknown_fields=True):
    start: _Said | None = None
    say: _Said | None = None


class Telegram(Remote):
    """A fake of Telegram's Bot API."""

    name = "telegram"

    def __init__(self, *, port: int = 0, clock: Clock | None = None) -> None:
        super().__init__(port=port, clock=clock)
        self._messages: deque[TelegramMessage] = deque(maxlen=KEPT_MAX)
        self._last_id = 0
        # Later than those of any run before, for a gateway that remembers how far it had come.
        self._updates = Updates(self._clock.now_ms() // 1000)
        self._polls: dict[str, object] = {}

    @property
    def api_base(self) -> str:
        """What ``TOCSIN_TELEGRAM_API_BASE`` is to be."""
        return self.url

    @property
    def messages(self) -> Sequence[TelegramMessage]:
        """The messages of all chats, oldest first."""
        return list(self._messages)

    def start(self, token: str, *, chat_id: int = 42, username: str | None = "ada", bot: str | None = None) -> None:
        """Let a user follow a deep link: open the bot, and send it ``/start <token>``."""
        self.say(f"/start {token}".rstrip(), chat_id=chat_id, username=username, bot=bot)

    def say(self, text: str, *, chat_id: int = 42, username: str | None = "ada", bot: str | None = None) -> None:
        """Let a user write to a bot, or to all."""
        message = self._keep(str(chat_id), bot, text, by_user=True)
        user = {"id": abs(chat_id), "is_bot": False, "first_name": username or "Somebody"}
        user |= {} if username is None else {"username": username}
        shown = {**_shown(message), "from": user}
        if text.startswith("/"):
            command = text.split(" ", 1)[0]
            shown["entities"] = [{"offset": 0, "length": len(command), "type": "bot_command"}]
        self._updates.add(shown, bot)
        self.arrivals.changed()

    def do(self, order: dict[str, Any]) -> None:
        """Let a user write: ``{"start": {"token": ...}}`` or ``{"say": {"text": ...}}``.

        Raises:
            BadScript: it says something else.
        """
        try:
            orders = msgspec.convert(order, _Orders)
        except msgspec.ValidationError as error:
            raise BadScript(str(error)) from error
        if orders.start is not None:
            said = orders.start
            self.start(said.token, chat_id=said.chat_id, username=said.username, bot=said.bot)
        if orders.say is not None:
            said = orders.say
            self.say(said.text, chat_id=said.chat_id, username=said.username, bot=said.bot)

    def clear(self) -> None:
        """Forget the script and all that was kept; updates stay."""
        self._messages.clear()
        super().clear()

    async def answer(self, request: Received) -> Response:
        """Return Telegram's answer."""
        found = _PATH.fullmatch(request.target.partition("?")[0])
        if found is None or _TOKEN.fullmatch(found["token"]) is None:
            return faults.fault(404)
        method = _METHODS.get(found["method"].lower())
        if method is None:
            return faults.fault(404)
        parameters = _parameters(request)
        if parameters is None:
            return faults.fault(400, faults.NOT_JSON)
        return await method(self, found["token"], parameters)

    def refusal(self, _request: Received, answer: Answer) -> Response:
        """Return a scripted answer in Telegram's form."""
        return faults.scripted(answer)

    def too_large(self) -> Response:
        """Return what a request with too large a body is answered."""
        return faults.fault(413)

    # -- methods ----------------------------------------------------------------------------------------------

    async def _get_me(self, bot: str, _parameters: dict[str, Any]) -> Response:
        return _ok({**_bot_user(bot), "can_join_groups": True, "can_read_all_group_messages": False})

    async def _send_message(self, bot: str, parameters: dict[str, Any]) -> Response:
        chat, text = _chat(parameters), _text(parameters)
        for part in (chat, text):
            if isinstance(part, Response):
                return part
        assert isinstance(chat, str)
        assert isinstance(text, str)
        return _ok({**_shown(self._keep(chat, bot, text)), "from": _bot_user(bot)})

    async def _edit_message_text(self, bot: str, parameters: dict[str, Any]) -> Response:
        chat, text = _chat(parameters), _text(parameters)
        for part in (chat, text):
            if isinstance(part, Response):
                return part
        message = self._find(bot, str(chat), parameters.get("message_id"))
        if message is None:
            return faults.fault(400, faults.NOT_FOUND_TO_EDIT)
        if message.text == text:
            return faults.fault(400, faults.NOT_MODIFIED)
        message.text = str(text)
        message.edited_ms = self._clock.now_ms()
        message.edits += 1
        return _ok({**_shown(message), "from": _bot_user(bot)})

    async def _delete_message(self, bot: str, parameters: dict[str, Any]) -> Response:
        chat = _chat(parameters)
        if isinstance(chat, Response):
            return chat
        message = self._find(bot, chat, parameters.get("message_id"))
        if message is None:
            return faults.fault(400, "Bad Request: message to delete not found")
        self._messages.remove(message)
        return _ok(True)

    async def _get_updates(self, bot: str, parameters: dict[str, Any]) -> Response:
        try:
            offset = int(parameters.get("offset") or 0)
            limit = min(max(int(parameters.get("limit") or LIMIT_MAX), 1), LIMIT_MAX)
            timeout_s = min(max(int(parameters.get("timeout") or 0), 0), _POLL_S_MAX)
        except (TypeError, ValueError):
            return faults.fault(400, "Bad Request: wrong type of a parameter")
        mine = object()
        self._polls[bot] = mine
        self.arrivals.changed()
        if offset:
            self._updates.confirm(bot, offset)

        def is_over() -> bool:
            return self._polls.get(bot) is not mine or bool(self._updates.waiting(bot))

        try:
            async with asyncio.timeout(timeout_s):
                await self.arrivals.until(is_over)
        except TimeoutError:
            pass
        if self._polls.get(bot) is not mine:
            return faults.fault(409)
        del self._polls[bot]
        return _ok(self._updates.waiting(bot, limit))

    async def _get_webhook_info(self, bot: str, _parameters: dict[str, Any]) -> Response:
        count = len(self._updates.waiting(bot))
        return _ok({"url": "", "has_custom_certificate": False, "pending_update_count": count})

    async def _delete_webhook(self, bot: str, parameters: dict[str, Any]) -> Response:
        if parameters.get("drop_pending_updates") in (True, "true", "True", "1"):
            waiting = self._updates.waiting(bot)
            if waiting:
                self._updates.confirm(bot, waiting[-1]["update_id"] + 1)
        return _ok(True)

    # -- messages ---------------------------------------------------------------------------------------------

    def _keep(self, chat: str, bot: str | None, text: str, *, by_user: bool = False) -> TelegramMessage:
        self._last_id += 1
        message = TelegramMessage(
            id=self._last_id,
            at_s=self._clock.monotonic_s(),
            chat_id=chat,
            bot=bot,
            text=text,
            created_ms=self._clock.now_ms(),
            by_user=by_user,
        )
        self._messages.append(message)
        return message

    def _find(self, bot: str, chat: str, message_id: Any) -> TelegramMessage | None:
        wanted = (bot, chat, str(message_id), False)
        return next(
            (each for each in self._messages if (each.bot, each.chat_id, str(each.id), each.by_user) == wanted), None
        )


_METHODS: dict[str, Callable[[Telegram, str, dict[str, Any]], Awaitable[Response]]] = {
    "getme": Telegram._get_me,  # noqa: SLF001  the table belongs to the class
    "sendmessage": Telegram._send_message,  # noqa: SLF001
    "editmessagetext": Telegram._edit_message_text,  # noqa: SLF001
    "deletemessage": Telegram._delete_message,  # noqa: SLF001
    "getupdates": Telegram._get_updates,  # noqa: SLF001
    "getwebhookinfo": Telegram._get_webhook_info,  # noqa: SLF001
    "deletewebhook": Telegram._delete_webhook,  # noqa: SLF001
}
"""By their names in lower case: Telegram does not mind."""


def _ok(result: Any) -> Response:
    return JSONResponse({"ok": True, "result": result})


def _bot_user(bot: str) -> dict[str, Any]:
    return {"id": int(bot.partition(":")[0]), "is_bot": True, "first_name": "Tocsin", "username": BOT_NAME}


def _parameters(request: Received) -> dict[str, Any] | None:
    """Return what a request asks for: of its query, and of its body as JSON or as a form; None is neither."""
    found: dict[str, Any] = dict(parse_qsl(request.target.partition("?")[2]))
    if not request.body:
        return found
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            body = json.loads(request.body)
            json.dumps(body, ensure_ascii=False).encode()
            return {**found, **body} if isinstance(body, dict) else None
        if kind == "application/x-www-form-urlencoded":
            return {**found, **dict(parse_qsl(request.body.decode()))}
    except (ValueError, RecursionError):
        return None
    return found


def _chat(parameters: dict[str, Any]) -> str | Response:
    chat = parameters.get("chat_id")
    if chat is None or chat == "":
        return faults.fault(400, faults.CHAT_EMPTY)
    if isinstance(chat, bool) or not isinstance(chat, str | int) or _CHAT.fullmatch(str(chat)) is None:
        return faults.fault(400, faults.CHAT_UNKNOWN)
    return str(chat)


def _text(parameters: dict[str, Any]) -> str | Response:
    text = parameters.get("text")
    text = text.strip() if isinstance(text, str) else ""
    if not text:
        return faults.fault(400, faults.TEXT_EMPTY)
    if len(text.encode("utf-16-le")) // 2 > TEXT_UNITS_MAX:
        return faults.fault(400, faults.TEXT_TOO_LONG)
    if parameters.get("parse_mode", "") not in _PARSE_MODES:
        return faults.fault(400, faults.PARSE_MODE)
    return text


def _shown(message: TelegramMessage) -> dict[str, Any]:
    is_name = message.chat_id.startswith("@")
    chat: dict[str, Any]
    if is_name:
        chat = {
            "id": -1_000_000_000_001,
            "type": "channel",
            "title": message.chat_id,
            "username": message.chat_id[1:],
        }
    else:
        number = int(message.chat_id)
        chat = {"id": number, "type": "private" if number > 0 else "supergroup", "first_name": "Somebody"}
    shown: dict[str, Any] = {
        "message_id": message.id,
        "date": message.created_ms // 1000,
        "chat": chat,
        "text": message.text,
    }
    return shown if message.edited_ms is None else {**shown, "edit_date": message.edited_ms // 1000}
