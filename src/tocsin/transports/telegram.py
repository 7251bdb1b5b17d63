"""Telegram: messages by a bot, in as many texts as it takes; edited where an incident goes on.

Sources: Telegram Bot API, "sendMessage", "editMessageText", "LinkPreviewOptions".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.delivery import ErrorClass, Outcome, Posted
from tocsin.core.destination import MASK
from tocsin.core.identifiers import DeliveryId
from tocsin.transports import telegram_answers
from tocsin.transports.addresses import UrlFault
from tocsin.transports.conversation import Ask, Conversation, Veil, Verdict, crowded, put_off, remember, where
from tocsin.transports.messages.cleaning import STAND_IN
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.telegram import TEXTS_MAX, telegram_texts
from tocsin.transports.outbound import Sends
from tocsin.transports.protocol import Done, Shipment, Target
from tocsin.transports.restraint import Restraint
from tocsin.transports.telegram_answers import Answer

_DEAD_REST_S = 10.0
"""What waits for its turn at a dead chat is not sent any more; until then the destination is disabled."""
_TOKEN = re.compile(r"[A-Za-z0-9.:_-]{1,256}", re.ASCII)
_CHAT_ID = re.compile(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{1,256}", re.ASCII)
_POSTED = re.compile(r"(?P<ids>[0-9]{1,18}(?:,[0-9]{1,18})*)@(?P<mark>[0-9a-f]{8})", re.ASCII)

_log = structlog.get_logger("tocsin.telegram")


class _Chat(msgspec.Struct, kw_only=True):
    """A chat as a bot reaches it.

    Attributes:
        id: where it is now; a remote may tell another.
        learned: what a remote told of it.
    """

    token: str
    id: str | int
    learned: dict[str, Any]

    @property
    def mark(self) -> str:
        """What tells ids of messages here from those of another chat or bot, where they are other messages."""
        bot = self.token.partition(":")[0]
        return sha256(f"{bot} {self.id}".encode()).hexdigest()[:8]


class _Sent(msgspec.Struct, kw_only=True):
    """The messages in a chat that tell what a delivery tells, in order.

    Attributes:
        mark: the chat's.
        parts: of each its id, None where it cannot be edited, and the digest of its text, None where that is another.
        stale: ids of messages in which nothing of the new texts stands.
    """

    mark: str
    parts: list[tuple[int | None, bytes | None]]
    stale: list[int]


class TelegramTransport:
    """Tells people by Telegram; the client is opened and closed by the caller.

    Args:
        client: what sends to ``api_base``, which the operator chose and which may be private.
        clock: for deadlines, rests, and reading dates.
        api_base: where the Bot API is, no slash at its end.
    """

    def __init__(self, client: Sends, clock: Clock, api_base: str) -> None:
        self._client = client
        self._clock = clock
        self._base = api_base
        self._restraint = Restraint(clock)
        self._sent: dict[DeliveryId, _Sent] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """See ``Transport``."""

    async def close(self) -> None:
        """See ``Transport``."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._sent.clear()

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        task = asyncio.get_running_loop().create_task(self._run(shipment, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, shipment: Shipment, done: Done) -> None:
        destination = shipment.target.destination
        chat = self._chat(shipment.target)
        veil = Veil() if isinstance(chat, Verdict) else Veil(chat.token, chat.token.partition(":")[2])
        line = f"POST {self._base}/bot{MASK}/sendMessage"
        talk = Conversation(self._clock, timeout_s=destination.timeout_s, veil=veil, line=line)
        try:
            outcome = talk.outcome(chat) if isinstance(chat, Verdict) else await self._in_turn(shipment, chat, talk)
        except Exception as fault:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            _log.warning("message_not_sent", destination=destination.id.hex(), fault=where(fault))
            error = f"the message could not be sent: {type(fault).__name__}"
            outcome = talk.outcome(Verdict(error_class=ErrorClass.INTERNAL, error=error))
        done(shipment, outcome)

    async def _in_turn(self, shipment: Shipment, chat: _Chat, talk: Conversation) -> Outcome:
        key = f"{chat.token} {chat.id}"
        try:
            # Half of the time at the most, so that enough is left for the answer.
            async with self._restraint.turn(key, wait_s=talk.left_s / 2):
                left_s = self._restraint.left_s([key])
                if left_s > 0:
                    return talk.outcome(put_off("not sent: Telegram wants to be left alone", left_s))
                verdict, remote_id = await self._tell(shipment, chat, talk)
                self._restraint.rest(key, max(verdict.rest_s, _DEAD_REST_S if verdict.dead else 0.0))
                return talk.outcome(verdict, chat.learned, remote_id=remote_id)
        except TimeoutError:
            return talk.outcome(crowded())

    async def _tell(self, shipment: Shipment, chat: _Chat, talk: Conversation) -> tuple[Verdict, str | None]:
        """Tell it; return the verdict and what the messages are called."""
        told = telegram_texts(compose(shipment.lease.event, shipment.incident, shipment.note))
        talk.shortened = told.truncated
        delivery_id = shipment.lease.delivery_id
        sent = self._sent.get(delivery_id)
        if sent is None or sent.mark != chat.mark:
            sent = _Sent(mark=chat.mark, parts=_posted(shipment.posted, chat.mark), stale=[])
        remember(self._sent, delivery_id, sent)
        verdict = await _Telling(self._client, self._clock, self._base, chat, talk, sent).tell(told.texts)
        if verdict.error_class is None or verdict.final:
            self._sent.pop(delivery_id, None)
        ids = [message_id for message_id, _ in sent.parts if message_id is not None]
        is_whole = verdict.error_class is None and len(ids) == len(sent.parts)
        return verdict, f"{','.join(map(str, ids))}@{sent.mark}" if is_whole else None

    def _chat(self, target: Target) -> _Chat | Verdict:
        address = target.destination.address | target.secret_address
        token = str(address.get("bot_token") or "")
        learned = target.destination.learned.get("chat_id")
        chat_id = address.get("chat_id") if learned is None else learned
        is_chat = isinstance(chat_id, str | int) and _CHAT_ID.fullmatch(str(chat_id)) is not None
        if not is_chat or _TOKEN.fullmatch(token) is None:
            text = "the destination has no bot's token with a chat's id"
            return Verdict(error_class=ErrorClass.INTERNAL, error=text)
        place = self._client.policy.check(self._base)
        if isinstance(place, UrlFault):
            error = f"the API's URL is not allowed: {place.value}"
            return Verdict(error_class=ErrorClass.ADDRESS_REFUSED, error=error)
        assert isinstance(chat_id, str | int)
        return _Chat(token=token, id=chat_id, learned={})


class _Telling:
    """One attempt to bring what stands in a chat into line with texts."""

    def __init__(self, client: Sends, clock: Clock, base: str, chat: _Chat, talk: Conversation, sent: _Sent) -> None:
        self._client = client
        self._clock = clock
        self._base = base
        self._chat = chat
        self._talk = talk
        self._sent = sent

    async def tell(self, texts: Sequence[str]) -> Verdict:
        """Return what came of it; what stands by then is not sent again by another attempt."""
        for place, text in enumerate(texts):
            verdict = await self._put(place, text)
            if verdict.error_class is not None:
                return verdict
        return Verdict(rest_s=await self._blank(len(texts)))

    async def _put(self, place: int, text: str) -> Verdict:
        """Have one text stand in the chat: it does already, it takes another's place, or it is sent."""
        digest = sha256(text.encode()).digest()
        parts = self._sent.parts
        if place < len(parts):
            message_id, stands = parts[place]
            if stands == digest:
                return Verdict()
            if message_id is not None:
                answer = await self._edit(message_id, text)
                if answer.verdict.error_class is None:
                    parts[place] = message_id, digest
                if not answer.is_gone:
                    return answer.verdict
            # What follows would stand above it now, so all of that is sent anew too.
            self._sent.stale += [each for each, _ in parts[place + 1 :] if each is not None]
            del parts[place:]
        answer = await self._send(text)
        if answer.verdict.error_class is None:
            parts.append((answer.message_id, digest))
        return answer.verdict

    async def _blank(self, count: int) -> float:
        """Take the text out of what tells nothing any more; return for how long Telegram takes nothing more.

        The message has arrived by now, so a failure does not matter: what is left tells how things stood before.
        """
        surplus = [each for each, _ in self._sent.parts[count:] if each is not None]
        for message_id in [*surplus, *self._sent.stale]:
            answer = await self._edit(message_id, STAND_IN)
            if answer.verdict.error_class is not None and not answer.is_gone:
                return answer.verdict.rest_s
        return 0.0

    async def _send(self, text: str) -> Answer:
        answer = await self._ask("sendMessage", {"text": text})
        if answer.chat_id is None or self._chat.learned:
            return answer
        self._move(answer.chat_id)
        return await self._ask("sendMessage", {"text": text})

    async def _edit(self, message_id: int, text: str) -> Answer:
        answer = await self._ask("editMessageText", {"message_id": message_id, "text": text}, edits=True)
        if answer.chat_id is None or self._chat.learned:
            return answer
        self._move(answer.chat_id)
        return Answer(verdict=answer.verdict, is_gone=True)

    def _move(self, chat_id: int) -> None:
        """Go on in the chat that the chat has become, where ids of messages begin anew."""
        self._chat.id = chat_id
        self._chat.learned["chat_id"] = chat_id
        self._sent.mark = self._chat.mark
        self._sent.parts[:] = [(None, digest) for _, digest in self._sent.parts]
        self._sent.stale.clear()

    async def _ask(self, method: str, said: dict[str, Any], *, edits: bool = False) -> Answer:
        asked = Ask(
            method="POST",
            url=f"{self._base}/bot{self._chat.token}/{method}",
            shown_url=f"{self._base}/bot{MASK}/{method}",
            body={"chat_id": self._chat.id} | said | {"link_preview_options": {"is_disabled": True}},
        )
        reply = await self._talk.ask(self._client, asked)
        return telegram_answers.read(reply, now_ms=self._clock.now_ms(), edits=edits)


def _posted(posted: Posted | None, mark: str) -> list[tuple[int | None, bytes | None]]:
    """Return the messages that told this before, in this chat; their texts are not known any more."""
    found = None if posted is None else _POSTED.fullmatch(posted.remote_id)
    if found is None or found["mark"] != mark:
        return []
    return [(int(each), None) for each in found["ids"].split(",")[:TEXTS_MAX]]
