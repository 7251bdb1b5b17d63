"""Discord: messages by a webhook, or by a bot to one person; edited where an incident goes on.

Sources: Discord's documentation, "Webhook Resource", "Message Resource", "User Resource" (create DM), "Rate Limits".
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import structlog

from tocsin import __version__
from tocsin.core.clock import Clock
from tocsin.core.delivery import ErrorClass, Outcome, Rejected
from tocsin.transports import discord_answers
from tocsin.transports.conversation import Ask, Conversation, Veil, Verdict, crowded, put_off, remember, where
from tocsin.transports.discord_answers import Answer
from tocsin.transports.discord_ways import ID, Way, Ways
from tocsin.transports.messages.composing import compose
from tocsin.transports.messages.discord import discord_payload
from tocsin.transports.outbound import Sends
from tocsin.transports.protocol import Done, Shipment
from tocsin.transports.restraint import Refusals, Restraint

REFUSALS_MAX = 5_000
"""Within ten minutes; Discord shuts a machine out at 10,000, and another process may share its address."""
REFUSALS_SHARE = 500
"""How many of these one organisation may cause before it is held back alone."""
REFUSALS_WINDOW_S = 600.0

_AGENT = (("User-Agent", f"DiscordBot (Tocsin, {__version__})"),)
"""In the form without which the wall before Discord may refuse a client."""
_DEAD_REST_S = 10.0
"""What waits for its turn at a dead address is not sent any more; until then the destination is disabled."""
_MESSAGE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}", re.ASCII)

_log = structlog.get_logger("tocsin.discord")


class DiscordTransport:
    """Tells people by Discord; the clients are opened and closed by the caller.

    Args:
        client: sends to webhooks' URLs, which tenants choose.
        clock: for deadlines, rests, and reading dates.
        api_base: the API, with its version, no slash at its end.
        api_client: sends to ``api_base`` and to webhooks right below it, which the operator chose and which may be
            private; ``client`` when None.
    """

    def __init__(self, client: Sends, clock: Clock, api_base: str, api_client: Sends | None = None) -> None:
        self._clock = clock
        self._ways = Ways(client, client if api_client is None else api_client, api_base)
        self._restraint = Restraint(clock)
        self._refusals = Refusals(clock, most=REFUSALS_MAX, share=REFUSALS_SHARE, window_s=REFUSALS_WINDOW_S)
        self._opened: dict[str, str] = {}
        self._gone: dict[tuple[str, str], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """See ``Transport``."""

    async def close(self) -> None:
        """See ``Transport``."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, shipment: Shipment, done: Done) -> None:
        """See ``Transport``."""
        task = asyncio.get_running_loop().create_task(self._run(shipment, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, shipment: Shipment, done: Done) -> None:
        destination = shipment.target.destination
        way = self._ways.way(shipment.target)
        veil, line = (Veil(), "(address refused)") if isinstance(way, Verdict) else (way.veil, way.shown_root)
        talk = Conversation(self._clock, timeout_s=destination.timeout_s, veil=veil, line=f"POST {line}")
        try:
            outcome = talk.outcome(way) if isinstance(way, Verdict) else await self._in_turn(shipment, way, talk)
        except Exception as fault:  # noqa: BLE001  whatever it is, the dispatcher waits for an outcome
            _log.warning("message_not_sent", destination=destination.id.hex(), fault=where(fault))
            error = f"the message could not be sent: {type(fault).__name__}"
            outcome = talk.outcome(Verdict(error_class=ErrorClass.INTERNAL, error=error))
        done(shipment, outcome)

    async def _in_turn(self, shipment: Shipment, way: Way, talk: Conversation) -> Outcome:
        try:
            # Half of the time at the most, so that enough is left for the answer.
            async with self._restraint.turn(way.address, wait_s=talk.left_s / 2):
                held_back = self._held_back(way)
                if held_back is not None:
                    return talk.outcome(held_back)
                outcome = await self._tell(shipment, way, talk)
                if isinstance(outcome, Rejected) and outcome.disable:
                    self._restraint.rest(way.address, _DEAD_REST_S)
                return outcome
        except TimeoutError:
            return talk.outcome(crowded())

    def _held_back(self, way: Way) -> Verdict | None:
        """Return why nothing may be sent now, or None."""
        left_s = self._restraint.left_s(way.limits)
        if left_s > 0:
            return put_off("not sent: Discord wants to be left alone", left_s)
        if not way.is_at_discord:
            return None
        left_s = self._refusals.left_s
        if left_s > 0:
            return put_off(f"not sent: Discord refused {REFUSALS_MAX} requests of this machine", left_s)
        left_s = self._refusals.own_left_s(way.organisation_id)
        if left_s > 0:
            return put_off(f"not sent: Discord refused {REFUSALS_SHARE} requests of this organisation", left_s)
        return None

    # -- one message ------------------------------------------------------------------------------------

    async def _tell(self, shipment: Shipment, way: Way, talk: Conversation) -> Outcome:
        told = discord_payload(compose(shipment.lease.event, shipment.incident, shipment.note))
        payload, talk.shortened = told.body, told.truncated
        if not way.by_bot:
            answer = await self._edit_or_send(shipment, way, talk, "", payload)
            return talk.outcome(answer.verdict, remote_id=answer.id)
        learned = shipment.target.destination.learned.get("dm_channel_id")
        known = self._known_channel(way, learned)
        if known is not None:
            answer = await self._edit_or_send(shipment, way, talk, known, payload)
            if not answer.is_channel_gone:
                # Told again where the destination does not have it yet.
                fresh = {} if known == learned else {"dm_channel_id": known}
                return talk.outcome(answer.verdict, fresh, remote_id=answer.id)
            self._opened.pop(way.address, None)
            remember(self._gone, (way.address, known), None)
            if answer.verdict.rest_s > 0:
                return talk.outcome(_later(answer.verdict))
        opened = await self._ask(way, talk, "/users/@me/channels", "", {"recipient_id": way.user_id}, opens=True)
        if opened.verdict.error_class is not None:
            return talk.outcome(opened.verdict)
        if opened.id is None:
            text = "Discord opened a channel and did not tell which"
            return talk.outcome(Verdict(error_class=ErrorClass.PROTOCOL, error=text))
        remember(self._opened, way.address, opened.id)
        answer = await self._edit_or_send(shipment, way, talk, opened.id, payload)
        return talk.outcome(answer.verdict, {"dm_channel_id": opened.id}, remote_id=answer.id)

    async def _edit_or_send(
        self, shipment: Shipment, way: Way, talk: Conversation, channel_id: str, payload: dict[str, Any]
    ) -> Answer:
        posted_id = "" if shipment.posted is None else shipment.posted.remote_id
        if _MESSAGE_ID.fullmatch(posted_id) is not None and (way.address, posted_id) not in self._gone:
            path, query = way.path(channel_id, posted_id)
            # What stood above the message belonged to its own time.
            answer = await self._ask(way, talk, path, query, {"content": ""} | payload, edits=True)
            if answer.verdict.error_class is None:
                return Answer(verdict=answer.verdict, id=posted_id)
            if not answer.is_message_gone:
                return answer
            remember(self._gone, (way.address, posted_id), None)
            if answer.verdict.rest_s > 0:
                return Answer(verdict=_later(answer.verdict))
        path, query = way.path(channel_id)
        return await self._ask(way, talk, path, query, payload)

    def _known_channel(self, way: Way, learned: Any) -> str | None:
        """Return the channel to the person whom a bot writes to, where it was opened before."""
        kept = self._opened.get(way.address)
        if kept is not None:
            return kept
        is_known = isinstance(learned, str) and ID.fullmatch(learned) is not None
        return learned if is_known and (way.address, learned) not in self._gone else None

    async def _ask(
        self,
        way: Way,
        talk: Conversation,
        path: str,
        query: str,
        body: dict[str, Any],
        *,
        edits: bool = False,
        opens: bool = False,
    ) -> Answer:
        """Make a request, read its answer, and heed what it says of limits."""
        shown_query = way.shown_query(query)
        asked = Ask(
            method="PATCH" if edits else "POST",
            url=f"{way.root}{path}?{query}" if query else way.root + path,
            shown_url=f"{way.shown_root}{path}?{shown_query}" if query else way.shown_root + path,
            body=body,
            headers=_AGENT,
            secret_headers=way.secret_headers,
        )
        reply = await talk.ask(way.client, asked)
        answer = discord_answers.read(reply, now_ms=self._clock.now_ms(), by_bot=way.by_bot, edits=edits, opens=opens)
        if answer.is_refusal and way.is_at_discord:
            self._refusals.note(way.organisation_id)
        verdict = answer.verdict
        self._restraint.rest(way.address, verdict.rest_s)
        if answer.is_global:
            self._restraint.rest(way.crowd, verdict.rest_s)
        if answer.is_walled:
            self._restraint.rest(way.machine, verdict.rest_s)
        return answer


def _later(verdict: Verdict) -> Verdict:
    """Return the verdict on a message that is to be sent anew once the limit allows."""
    error = f"{verdict.error}; sent anew once the limit allows"
    return Verdict(
        error_class=verdict.error_class, error=error, wait_s=verdict.rest_s, counted=False, rest_s=verdict.rest_s
    )
