"""A fake Discord.

It knows every webhook, every bot and every channel whose id and token have the right form. Everything else is as
Discord has it: what is refused, in which words, and how many requests it takes.

Sources: Discord's documentation, "Webhook", "Message", "User: Create DM", "Rate Limits", "Opcodes and Status Codes".
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.responses import HTMLResponse, JSONResponse, Response

from tocsin.core.clock import Clock, rfc3339
from tocsin.fakes.arrivals import KEPT_MAX, Received
from tocsin.fakes.discord.checking import FormErrors, check_message, is_empty
from tocsin.fakes.discord.rates import Buckets, Rate, Standing, too_many
from tocsin.fakes.remote import Remote
from tocsin.fakes.script import Answer

_EPOCH_MS = 1_420_070_400_000
"""The first second of 2015, from which Discord's ids count."""
_DM_MASK = 0x5A5A_5A5A
"""Makes of a user's id the id of the channel to them, the same one every time."""
_ID = "[0-9]{1,20}"
_PING = re.compile(r"@everyone|@here|<@[!&]?[0-9]{1,20}>")
_KINDS_OF_PING = {"@everyone": "everyone", "@here": "everyone", "<@&": "roles"}

_ERRORS: dict[int, tuple[int, str]] = {
    400: (50035, "Invalid Form Body"),
    401: (0, "401: Unauthorized"),
    403: (50013, "Missing Permissions"),
    404: (0, "404: Not Found"),
    405: (0, "405: Method Not Allowed"),
    413: (40005, "Request entity too large"),
    500: (0, "500: Internal Server Error"),
    502: (0, "502: Bad Gateway"),
    503: (0, "503: Service Unavailable"),
}
_OF_WEBHOOKS = {404: (10015, "Unknown Webhook")}
_OF_CHANNELS = {403: (50007, "Cannot send messages to this user"), 404: (10003, "Unknown Channel")}


class DiscordMessage(msgspec.Struct, kw_only=True):
    """A message as a person sees it.

    Attributes:
        at_s: when it came, on the monotonic clock.
        place: ``webhook <id>`` or ``channel <id>``.
        owner: who may change it: the webhook's id and token, or the channel's id.
        pings: what in it wakes somebody.
        edits: how often it was changed.
    """

    id: str
    at_s: float
    place: str
    owner: tuple[str, ...]
    content: str
    embeds: list[dict[str, Any]]
    created_ms: int
    pings: tuple[str, ...] = ()
    edited_ms: int | None = None
    edits: int = 0


class Discord(Remote):
    """A fake Discord.

    Args:
        rate: what each webhook, and each channel of a bot, takes.
    """

    name = "discord"

    def __init__(self, *, port: int = 0, rate: Rate | None = None, clock: Clock | None = None) -> None:
        super().__init__(port=port, clock=clock)
        self._messages: deque[DiscordMessage] = deque(maxlen=KEPT_MAX)
        self._buckets = Buckets(rate or Rate(), self._clock)
        self._ids = 0

    @property
    def api_base(self) -> str:
        """What ``TOCSIN_DISCORD_API_BASE`` is to be."""
        return f"{self.url}/api/v10"

    @property
    def messages(self) -> Sequence[DiscordMessage]:
        """The messages that can be seen, oldest first."""
        return list(self._messages)

    def webhook_url(self, webhook_id: str = "1", token: str = "token") -> str:  # noqa: S107  no secret of anybody's
        """Return the URL of a webhook."""
        return f"{self.api_base}/webhooks/{webhook_id}/{token}"

    def clear(self) -> None:
        """Forget the script and all that was kept."""
        self._messages.clear()
        super().clear()

    async def answer(self, request: Received) -> Response:
        """Return Discord's answer, within its limits."""
        bucket = _bucket(request)
        standing = self._buckets.take(bucket)
        if standing.allowed:
            response = self._routed(request)
        else:
            body, headers = too_many(standing.reset_after_s, is_global=False)
            response = JSONResponse(body, 429, headers)
        response.headers.update(self._buckets.headers(bucket, standing))
        return response

    def refusal(self, request: Received, answer: Answer) -> Response:
        """Return a scripted answer in Discord's form."""
        status = answer.status or 400
        if answer.html:
            headers = {"Retry-After": str(int(answer.retry_after))} if status == 429 else None
            return HTMLResponse(f"<html><h1>Error {status}</h1></html>", status, headers)
        bucket = _bucket(request)
        if status == 429:
            body, headers = too_many(answer.retry_after, is_global=answer.is_global, message=answer.message)
            response = JSONResponse(body, 429, headers)
            standing = Standing(False, 0, answer.retry_after)
        else:
            usual = _OF_WEBHOOKS if "/webhooks/" in request.target else _OF_CHANNELS
            code, message = usual.get(status) or _ERRORS.get(status) or (0, str(status))
            code = code if answer.code is None else answer.code
            response = JSONResponse({"message": answer.message or message, "code": code}, status)
            standing = self._buckets.take(bucket)
        response.headers.update(self._buckets.headers(bucket, standing))
        return response

    def too_large(self) -> Response:
        """Return what a request with too large a body is answered."""
        return _error(413)

    def _routed(self, request: Received) -> Response:
        path = request.target.partition("?")[0]
        other = False
        for method, pattern, handler in _ROUTES:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            if method == request.method:
                return handler(self, request, found.groupdict())
            other = True
        return _error(405) if other else _error(404)

    # -- webhooks ---------------------------------------------------------------------------------------------

    def _execute(self, request: Received, named: Mapping[str, str]) -> Response:
        waits = parse_qs(request.target.partition("?")[2]).get("wait", ["false"])[-1] in ("true", "1")
        owner = (named["webhook"], named["token"])
        response = self._create(request, f"webhook {named['webhook']}", owner)
        return response if waits or response.status_code != 200 else Response(status_code=204)

    def _edit_of_webhook(self, request: Received, named: Mapping[str, str]) -> Response:
        return self._edit(request, (named["webhook"], named["token"]), named["message"])

    def _delete_of_webhook(self, _request: Received, named: Mapping[str, str]) -> Response:
        return self._delete((named["webhook"], named["token"]), named["message"])

    # -- bots -------------------------------------------------------------------------------------------------

    def _open_channel(self, request: Received, _named: Mapping[str, str]) -> Response:
        if not _is_bot(request):
            return _error(401)
        body, refused = _decoded(request)
        if refused is not None:
            return refused
        user = str(body.get("recipient_id", "")) if isinstance(body, dict) else ""
        if re.fullmatch(_ID, user) is None:
            errors = FormErrors()
            errors.add(("recipient_id",), "NUMBER_TYPE_COERCE", f'Value "{user}" is not snowflake.')
            return JSONResponse(errors.body(), 400)
        channel = str(int(user) ^ _DM_MASK)
        recipient = {"id": user, "username": f"user{user}", "discriminator": "0", "avatar": None}
        return JSONResponse({"id": channel, "type": 1, "last_message_id": None, "recipients": [recipient]})

    def _create_in_channel(self, request: Received, named: Mapping[str, str]) -> Response:
        if not _is_bot(request):
            return _error(401)
        return self._create(request, f"channel {named['channel']}", (named["channel"],))

    def _edit_in_channel(self, request: Received, named: Mapping[str, str]) -> Response:
        if not _is_bot(request):
            return _error(401)
        return self._edit(request, (named["channel"],), named["message"])

    def _delete_in_channel(self, request: Received, named: Mapping[str, str]) -> Response:
        if not _is_bot(request):
            return _error(401)
        return self._delete((named["channel"],), named["message"])

    # -- messages ---------------------------------------------------------------------------------------------

    def _create(self, request: Received, place: str, owner: tuple[str, ...]) -> Response:
        body, refused = _message_in(request)
        if refused is not None:
            return refused
        content, embeds = str(body.get("content") or ""), list(body.get("embeds") or ())
        if is_empty(content, embeds):
            return JSONResponse({"message": "Cannot send an empty message", "code": 50006}, 400)
        now_ms = self._clock.now_ms()
        self._ids += 1
        message = DiscordMessage(
            id=str((now_ms - _EPOCH_MS) << 22 | self._ids & 0x3FFFFF),
            at_s=self._clock.monotonic_s(),
            place=place,
            owner=owner,
            content=content,
            embeds=embeds,
            created_ms=now_ms,
            pings=_pings(content, body.get("allowed_mentions")),
        )
        self._messages.append(message)
        return JSONResponse(_shown(message))

    def _edit(self, request: Received, owner: tuple[str, ...], message_id: str) -> Response:
        message = self._find(owner, message_id)
        if message is None:
            return _unknown_message()
        body, refused = _message_in(request)
        if refused is not None:
            return refused
        content = message.content if "content" not in body else str(body["content"] or "")
        embeds = message.embeds if "embeds" not in body else list(body["embeds"] or ())
        if is_empty(content, embeds):
            return JSONResponse({"message": "Cannot send an empty message", "code": 50006}, 400)
        message.content, message.embeds = content, embeds
        message.edited_ms = self._clock.now_ms()
        message.edits += 1
        return JSONResponse(_shown(message))

    def _delete(self, owner: tuple[str, ...], message_id: str) -> Response:
        message = self._find(owner, message_id)
        if message is None:
            return _unknown_message()
        self._messages.remove(message)
        return Response(status_code=204)

    def _find(self, owner: tuple[str, ...], message_id: str) -> DiscordMessage | None:
        return next((each for each in self._messages if (each.owner, each.id) == (owner, message_id)), None)


_Handler = Callable[[Discord, Received, Mapping[str, str]], Response]


def _route(method: str, path: str, handler: _Handler) -> tuple[str, re.Pattern[str], _Handler]:
    return method, re.compile(f"/api(?:/v[0-9]+)?{path}"), handler


_WEBHOOK = rf"/webhooks/(?P<webhook>{_ID})/(?P<token>[A-Za-z0-9_-]+)"
_MESSAGES = rf"/channels/(?P<channel>{_ID})/messages"
_ONE = rf"/(?P<message>{_ID})"
_ROUTES = (
    _route("POST", _WEBHOOK, Discord._execute),  # noqa: SLF001  the table belongs to the class
    _route("PATCH", f"{_WEBHOOK}/messages{_ONE}", Discord._edit_of_webhook),  # noqa: SLF001
    _route("DELETE", f"{_WEBHOOK}/messages{_ONE}", Discord._delete_of_webhook),  # noqa: SLF001
    _route("POST", "/users/@me/channels", Discord._open_channel),  # noqa: SLF001
    _route("POST", _MESSAGES, Discord._create_in_channel),  # noqa: SLF001
    _route("PATCH", f"{_MESSAGES}{_ONE}", Discord._edit_in_channel),  # noqa: SLF001
    _route("DELETE", f"{_MESSAGES}{_ONE}", Discord._delete_in_channel),  # noqa: SLF001
)


def _bucket(request: Received) -> Hashable:
    """Return what a request counts against: its webhook, its channel, or else the bot's path."""
    path = request.target.partition("?")[0]
    found = re.search(rf"{_WEBHOOK}|/channels/(?P<channel>{_ID})", path)
    return found.group() if found is not None else (path, request.header("authorization"))


def _is_bot(request: Received) -> bool:
    return re.fullmatch(r"Bot [!-~]+", request.header("authorization") or "") is not None


def _decoded(request: Received) -> tuple[Any, Response | None]:
    """Return a request's body, or the refusal of it."""
    if (request.header("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        errors = FormErrors()
        expected = "Expected \"Content-Type\" header to be one of {'application/json'}."
        errors.add((), "CONTENT_TYPE_INVALID", expected)
        return None, JSONResponse(errors.body(), 400)
    try:
        body = json.loads(request.body, parse_constant=_no_number)
        # Halves of characters have no place in any answer, nor on any page.
        json.dumps(body, ensure_ascii=False).encode()
        return body, None
    except (ValueError, RecursionError):
        return None, JSONResponse({"message": "The request body contains invalid JSON.", "code": 50109}, 400)


def _no_number(text: str) -> None:
    raise ValueError(text)


def _message_in(request: Received) -> tuple[dict[str, Any], Response | None]:
    body, refused = _decoded(request)
    if refused is None:
        fault = check_message(body)
        refused = None if fault is None else JSONResponse(fault, 400)
    return (body if isinstance(body, dict) else {}), refused


def _pings(content: str, allowed: Any) -> tuple[str, ...]:
    """Return what of a message's content wakes somebody; without ``allowed_mentions`` all of it does."""
    found = tuple(dict.fromkeys(_PING.findall(content)))
    if not isinstance(allowed, dict):
        return found
    parse = allowed.get("parse") or ()
    named = {str(each) for kind in ("users", "roles") for each in allowed.get(kind) or ()}

    def wakes(ping: str) -> bool:
        kind = _KINDS_OF_PING.get(ping) or _KINDS_OF_PING.get(ping[:3]) or "users"
        return kind in parse or re.sub(r"[^0-9]", "", ping) in named

    return tuple(each for each in found if wakes(each))


def _shown(message: DiscordMessage) -> dict[str, Any]:
    edited = message.edited_ms
    return {
        "id": message.id,
        "type": 0,
        "content": message.content,
        "channel_id": message.owner[0],
        "author": {
            "id": message.owner[0],
            "username": "Tocsin",
            "discriminator": "0000",
            "avatar": None,
            "bot": True,
        },
        "attachments": [],
        "embeds": [{"type": "rich", **embed} for embed in message.embeds],
        "mentions": [],
        "mention_roles": [],
        "mention_everyone": any(each in ("@everyone", "@here") for each in message.pings),
        "pinned": False,
        "tts": False,
        "timestamp": rfc3339(message.created_ms, milliseconds=True),
        "edited_timestamp": None if edited is None else rfc3339(edited, milliseconds=True),
        "flags": 0,
        "components": [],
        **({"webhook_id": message.owner[0]} if len(message.owner) > 1 else {}),
    }


def _error(status: int) -> Response:
    code, message = _ERRORS[status]
    return JSONResponse({"message": message, "code": code}, status)


def _unknown_message() -> Response:
    return JSONResponse({"message": "Unknown Message", "code": 10008}, 404)
