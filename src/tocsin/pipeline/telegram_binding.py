"""Finding the chat of a person who has nothing but a Telegram account: they follow a link, and the bot is told.

Telegram lets a bot write to a private chat only by the chat's number, which nobody knows by heart. A link with a
token, ``https://t.me/<bot>?start=<token>``, makes the person's Telegram send ``/start <token>`` to the bot, and with
it the number. While a link is open the bot is asked for what people write to it, and never otherwise.

Source: Telegram, "Bot Features", "Deep Linking".
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from contextvars import Context, copy_context
from enum import StrEnum
from hashlib import sha256
from typing import Protocol

import msgspec
import structlog

from tocsin.core.clock import Clock
from tocsin.core.destination import MASK, Destination, Transport
from tocsin.core.errors import Conflict, NotFound, TocsinError, Unavailable, Unprocessable
from tocsin.core.event import Dialect
from tocsin.core.identifiers import DestinationId, OrganisationId, prefixed
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.vault import Vault
from tocsin.transports.messages.cleaning import BREAK, one_line
from tocsin.transports.messages.cutting import cut
from tocsin.transports.telegram_api import BotFault, BotFaultKind, Said

_log = structlog.get_logger("tocsin.telegram")

_TOKEN_BYTES = 16
_START = re.compile(r"/start(?:@[A-Za-z0-9_]{1,64})?\s+([A-Za-z0-9_-]{1,64})", re.ASCII)
_NAME_UNITS_MAX = 200
_TRIES = 3
"""To write a chat down, while others change the same destination."""
_UNAVAILABLE_S = 5.0
_WRONG = "This link is not valid any more. Please ask for a new one."


class TelegramLinkLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Links by which people connect a Telegram chat.

    Attributes:
        expires_s: how long a link is good for.
        poll_s: how long one request to Telegram waits for what people write to the bot.
        pause_s: the wait after a request that failed.
        open_max: links that are open at once, of all organisations.
        organisation_max: links that are open at once, of one organisation.
        refusals_max: chats that are told that their link is not valid, while a bot is listened to.
        conflicts_max: answers in a row that somebody else is told what people write, before the links are given up.
    """

    expires_s: int = 900
    poll_s: int = 25
    pause_s: float = 3.0
    open_max: int = 100
    organisation_max: int = 10
    refusals_max: int = 5
    conflicts_max: int = 3


class LinkState(StrEnum):
    """What became of a link."""

    WAITING = "waiting"
    CONNECTED = "connected"
    EXPIRED = "expired"
    FAILED = "failed"


class TelegramLink(msgspec.Struct, frozen=True):
    """A link, shown only when it is made."""

    url: str
    expires_ms: int


class LinkStatus(msgspec.Struct, frozen=True):
    """Where a link stands.

    Attributes:
        error: why it failed; None otherwise.
    """

    state: LinkState
    error: str | None = None


class Bots(Protocol):
    """Who speaks to Telegram; see ``transports.telegram_api.TelegramBots``. Every method raises ``BotFault``."""

    async def username(self, token: str) -> str:
        """Return a bot's name."""
        ...

    async def has_webhook(self, token: str) -> bool:
        """Return whether what people write goes to a webhook."""
        ...

    async def updates(self, token: str, *, offset: int | None, wait_s: int) -> list[Said]:
        """Return what people wrote since."""
        ...

    async def say(self, token: str, chat_id: int, text: str) -> None:
        """Write a text."""
        ...


class _Link(msgspec.Struct, kw_only=True):
    """A link that was made.

    Attributes:
        bot: the token of the bot that it leads to.
        digest: of the link's own token, which is kept nowhere.
        context: of the request that made it: whoever asked is who changes the destination.
    """

    organisation_id: OrganisationId
    destination_id: DestinationId
    bot: str
    digest: bytes
    deadline_s: float
    context: Context
    state: LinkState = LinkState.WAITING
    error: str | None = None


class TelegramLinks:
    """Makes links, listens for those who follow them, and writes down their chats.

    Links live in the memory of one process, like everything else that ends within minutes.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        vault: Vault,
        bots: Bots,
        clock: Clock,
        entropy: Callable[[int], bytes],
        limits: TelegramLinkLimits,
    ) -> None:
        self._catalog = catalog
        self._vault = vault
        self._bots = bots
        self._clock = clock
        self._entropy = entropy
        self._limits = limits
        self._links: dict[DestinationId, _Link] = {}
        self._polls: dict[str, asyncio.Task[None]] = {}

    def contact(self, organisation_id: OrganisationId) -> Destination:
        """Return the Telegram contact of the organisation's account.

        Raises:
            Conflict: ``telegram_bot_missing``, where there is none.
        """
        found = self._catalog.find_named_destination(organisation_id, Dialect.PINGPILOT, Transport.TELEGRAM.value)
        if found is None:
            raise _no_bot("the account has no Telegram bot yet; give it a bot_token")
        return found

    async def open(self, destination: Destination) -> TelegramLink:
        """Return a new link for a destination; one that was open before is good for nothing any more.

        Raises:
            Conflict: ``telegram_bot_missing``, ``telegram_webhook_set`` or ``telegram_link_limit_reached``.
            Unprocessable: ``telegram_bot_refused``, where Telegram does not know the bot.
            Unavailable: ``telegram_unavailable``, where Telegram does not answer.
        """
        bot = self._bot_of(destination)
        if bot is None:
            raise _no_bot("the destination has no Telegram bot; give it a bot_token")
        self._check_room(destination)
        try:
            name = await self._bots.username(bot)
            is_hooked = await self._bots.has_webhook(bot)
        except BotFault as fault:
            raise _refusal(fault) from fault
        if is_hooked:
            raise Conflict(
                "the bot has a webhook, so that only that is told what people write; remove it with deleteWebhook, "
                "or take another bot",
                code="telegram_webhook_set",
            )
        await self._catalog.note("telegram.link_opened", {"destination": prefixed("dst", destination.id)})
        self._check_room(destination)
        token = base64.urlsafe_b64encode(self._entropy(_TOKEN_BYTES)).rstrip(b"=").decode()
        # The newest stands last, so that what is forgotten first is the oldest.
        self._links.pop(destination.id, None)
        self._links[destination.id] = _Link(
            organisation_id=destination.organisation_id,
            destination_id=destination.id,
            bot=bot,
            digest=_digest(token),
            deadline_s=self._clock.monotonic_s() + self._limits.expires_s,
            context=copy_context(),
        )
        if bot not in self._polls:
            # In a context of its own: it serves the links of others too.
            task = asyncio.get_running_loop().create_task(self._poll(bot), context=Context())
            self._polls[bot] = task
        return TelegramLink(
            f"https://t.me/{name}?start={token}", self._clock.now_ms() + self._limits.expires_s * 1000
        )

    def status(self, destination: Destination) -> LinkStatus:
        """Return where the newest link of a destination stands.

        Raises:
            NotFound: ``telegram_link_not_found``, where none was made, or so long ago that nobody knows.
        """
        link = self._links.get(destination.id)
        if link is None or link.organisation_id != destination.organisation_id:
            raise NotFound(
                "no link was made for this, or the gateway was started since", code="telegram_link_not_found"
            )
        self._expire(link)
        return LinkStatus(link.state, link.error)

    async def close(self) -> None:
        """Stop listening."""
        tasks = list(self._polls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- listening --------------------------------------------------------------------------------------

    async def _poll(self, bot: str) -> None:
        """Ask for what people write to a bot until no link that leads to it is open."""
        try:
            offset = None
            while self._waiting(bot):
                offset = await self._listen(bot, offset)
                await self._confirm(bot, offset)
        except Exception as error:  # noqa: BLE001  whoever waits is to hear of it
            _log.warning("telegram_poll_broke", fault=type(error).__name__)
            self._fail(bot, f"a fault of ours: {type(error).__name__}")
        finally:
            self._polls.pop(bot, None)

    async def _listen(self, bot: str, offset: int | None) -> int | None:
        """Hear people until no link is open; return what is to be asked for next."""
        conflicts = 0
        refused: set[int] = set()
        while (left_s := self._left_s(bot)) > 0:
            wait_s = max(1, int(min(self._limits.poll_s, left_s)))
            try:
                heard = await self._bots.updates(bot, offset=offset, wait_s=wait_s)
            except BotFault as fault:
                conflicts = conflicts + 1 if fault.kind is BotFaultKind.CONFLICT else 0
                if fault.kind is BotFaultKind.REFUSED or conflicts >= max(1, self._limits.conflicts_max):
                    self._fail(bot, fault.text)
                else:
                    pause_s = self._limits.pause_s if fault.wait_s is None else fault.wait_s
                    await asyncio.sleep(min(max(pause_s, self._limits.pause_s), max(0.0, self._left_s(bot))))
                continue
            conflicts = 0
            for said in heard:
                offset = said.update_id + 1
                await self._hear(bot, said, refused)
        return offset

    async def _confirm(self, bot: str, offset: int | None) -> None:
        """Let Telegram forget what was heard, so that nobody hears it again."""
        if offset is None:
            return
        try:
            await self._bots.updates(bot, offset=offset, wait_s=0)
        except BotFault as fault:
            _log.info("telegram_updates_not_confirmed", error=fault.text)

    async def _hear(self, bot: str, said: Said, refused: set[int]) -> None:
        found = _START.fullmatch(said.text.strip())
        if found is None or said.chat_id is None:
            return
        digest = _digest(found[1])
        link = next((each for each in self._waiting(bot) if each.digest == digest), None)
        if link is not None:
            loop = asyncio.get_running_loop()
            text = await loop.create_task(self._connect(link, said.chat_id), context=link.context)
        elif said.chat_id not in refused and len(refused) < self._limits.refusals_max:
            refused.add(said.chat_id)
            text = _WRONG
        else:
            return
        try:
            await self._bots.say(bot, said.chat_id, text)
        except BotFault as fault:
            _log.info("telegram_answer_not_sent", error=fault.text)

    async def _connect(self, link: _Link, chat_id: int) -> str:
        """Write a chat down; return what the person is told."""
        try:
            destination = await self._bound(link, chat_id)
        except TocsinError as error:
            link.state, link.error = LinkState.FAILED, error.detail
            return "This chat could not be connected. Please ask for a new link."
        link.state = LinkState.CONNECTED
        _log.info("telegram_chat_connected", destination=link.destination_id.hex())
        return self._greeting(destination)

    async def _bound(self, link: _Link, chat_id: int) -> Destination:
        for attempt in range(1, _TRIES + 1):
            before = self._catalog.find_destination(link.organisation_id, link.destination_id)
            if before is None:
                raise NotFound("the destination is gone")
            if self._bot_of(before) != link.bot:
                raise Conflict("the destination has another bot by now")
            was_disabled_by_us = before.disabled_reason is not None
            after = msgspec.structs.replace(
                before,
                address={"bot_token": MASK, "chat_id": chat_id},
                learned={},
                enabled=before.enabled or was_disabled_by_us,
                disabled_reason=None,
                failing_since_ms=None,
                updated_ms=self._clock.now_ms(),
            )
            try:
                await self._catalog.save(after)
                return after
            except Conflict:
                if attempt == _TRIES:
                    raise
                await self._catalog.refresh()
        raise AssertionError("the last try returns or raises")

    def _greeting(self, destination: Destination) -> str:
        if destination.origin is Dialect.PINGPILOT:
            what = f"the events of {_named(self._catalog.organisation(destination.organisation_id).name)}"
        else:
            what = f"what is sent to {_named(destination.name)}"
        return f"Connected: {what} will be told here."

    # -- links ------------------------------------------------------------------------------------------

    def _bot_of(self, destination: Destination) -> str | None:
        if destination.transport is not Transport.TELEGRAM:
            return None
        token = self._vault.target(destination).secret_address.get("bot_token")
        return token if isinstance(token, str) and token else None

    def _check_room(self, destination: Destination) -> None:
        """Return if another link may be open; forget the oldest of those that are not."""
        # A new link takes the place of the one that was open for the same destination.
        others = [each for each in self._waiting() if each.destination_id != destination.id]
        theirs = sum(each.organisation_id == destination.organisation_id for each in others)
        if theirs >= self._limits.organisation_max or len(others) >= self._limits.open_max:
            raise Conflict("as many links are open already as may be", code="telegram_link_limit_reached")
        closed = [key for key, each in self._links.items() if each.state is not LinkState.WAITING]
        for key in closed[: -self._limits.open_max or None]:
            del self._links[key]

    def _waiting(self, bot: str | None = None) -> list[_Link]:
        mine = [each for each in self._links.values() if bot in (None, each.bot)]
        for link in mine:
            self._expire(link)
        return [each for each in mine if each.state is LinkState.WAITING]

    def _left_s(self, bot: str) -> float:
        """Return how long a link that leads to this bot is open; 0 where none is."""
        now_s = self._clock.monotonic_s()
        return max((each.deadline_s - now_s for each in self._waiting(bot)), default=0.0)

    def _expire(self, link: _Link) -> None:
        if link.state is LinkState.WAITING and self._clock.monotonic_s() >= link.deadline_s:
            link.state = LinkState.EXPIRED

    def _fail(self, bot: str, error: str) -> None:
        for link in self._waiting(bot):
            link.state, link.error = LinkState.FAILED, error


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _named(name: str) -> str:
    """Return a name within a sentence: one line, and nobody's whom Telegram would wake."""
    return cut(one_line(name), _NAME_UNITS_MAX).replace("@", f"@{BREAK}")


def _no_bot(detail: str) -> Conflict:
    return Conflict(detail, code="telegram_bot_missing")


def _refusal(fault: BotFault) -> TocsinError:
    if fault.kind is BotFaultKind.UNAVAILABLE:
        wait_s = _UNAVAILABLE_S if fault.wait_s is None else fault.wait_s
        return Unavailable(fault.text, code="telegram_unavailable", retry_after_s=wait_s)
    return Unprocessable(f"the bot cannot be used: {fault.text}", code="telegram_bot_refused")
