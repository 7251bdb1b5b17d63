"""A person follows a link, and their chat is written down: against a Telegram on a real socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from pipeline.stage import Stage
from receivers import LOOPBACK, Receiver
from receivers import Answer as Told
from tocsin.core.destination import MASK, Destination, Transport
from tocsin.core.errors import Conflict, NotFound, TocsinError, Unavailable, Unprocessable
from tocsin.core.identifiers import DEFAULT_ORGANISATION, OrganisationId
from tocsin.core.organisation import Organisation
from tocsin.fakes.script import Answer
from tocsin.fakes.telegram import Telegram
from tocsin.pipeline.telegram_binding import LinkState, LinkStatus, TelegramLinkLimits, TelegramLinks
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client
from tocsin.transports.telegram_api import TelegramBots

BOT = "123456:secret-of-the-bot"
OTHER_BOT = "77:secret-of-the-other"
WRONG = "This link is not valid any more. Please ask for a new one."
QUICK = TelegramLinkLimits(poll_s=2, pause_s=0.001)


class Scene:
    """Links of a store, and the Telegram that they lead to."""

    def __init__(self, stage: Stage, telegram: Telegram, links: TelegramLinks) -> None:
        self.stage = stage
        self.telegram = telegram
        self.links = links

    async def destination(self, name: str = "chat", bot: str = BOT, **fields: Any) -> Destination:
        address = {"bot_token": bot, **fields}
        return await self.stage.destination(name, transport=Transport.TELEGRAM, address=address)

    def current(self, destination: Destination) -> Destination:
        return self.stage.destinations.get(destination.organisation_id, destination.id)

    async def token(self, destination: Destination) -> str:
        """Open a link and return its token."""
        link = await self.links.open(self.current(destination))
        head, _, token = link.url.partition("?start=")
        assert head == "https://t.me/tocsin_fake_bot"
        return token

    async def answered(self, text: str, times: int = 1) -> None:
        """Wait until the bot has said something that begins like this so often."""
        await self.telegram.until(lambda: len(self.said(text)) >= times)

    def said(self, text: str = "") -> list[tuple[str, str]]:
        """Return the chats and texts of what bots said."""
        return [
            (each.chat_id, each.text)
            for each in self.telegram.messages
            if not each.by_user and each.text.startswith(text)
        ]

    def asked(self, method: str) -> list[dict[str, Any]]:
        """Return the bodies of the requests of one method."""
        return [
            msgspec.json.decode(each.body) for each in self.telegram.requests if each.target.endswith(f"/{method}")
        ]

    async def over(self) -> None:
        """Wait until nobody listens any more."""
        await asyncio.gather(*self.links._polls.values())


def run(tmp_path: Path, scenario: Callable[[Scene], Awaitable[None]], limits: TelegramLinkLimits = QUICK) -> None:
    async def main() -> None:
        stage = Stage(tmp_path)
        await stage.open(sending=False)
        client = Client(AddressPolicy(LOOPBACK))
        await client.open()
        async with Telegram() as telegram, asyncio.timeout(60):
            links = TelegramLinks(
                catalog=stage.catalog,
                vault=stage.vault,
                bots=TelegramBots(client, telegram.api_base),
                clock=stage.clock,
                entropy=os.urandom,
                limits=limits,
            )
            try:
                await scenario(Scene(stage, telegram, links))
            finally:
                await links.close()
        await client.close()
        await stage.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("chat_id", "written"),
    [(42, "/start {}"), (-100_200, "/start@tocsin_fake_bot {}"), (42, " /start   {}\n")],
    ids=["private", "group", "white space"],
)
def test_whoever_follows_the_link_is_told_from_then_on(tmp_path: Path, chat_id: int, written: str) -> None:
    async def scenario(scene: Scene) -> None:
        before = await scene.destination()
        assert before.address == {"bot_token": MASK}
        with capture_logs() as logs:
            token = await scene.token(before)
            assert scene.links.status(before) == LinkStatus(LinkState.WAITING)
            scene.telegram.say(written.format(token), chat_id=chat_id)
            await scene.over()
        assert scene.links.status(before) == LinkStatus(LinkState.CONNECTED)
        after = scene.current(before)
        assert after.address == {"bot_token": MASK, "chat_id": chat_id}
        assert scene.stage.vault.target(after).secret_address == {"bot_token": BOT}
        assert scene.said() == [(str(chat_id), "Connected: what is sent to chat will be told here.")]
        # What was heard is confirmed, so that whoever asks next does not hear it again.
        assert scene.asked("getUpdates")[-1]["offset"] > 0
        assert {tuple(each["allowed_updates"]) for each in scene.asked("getUpdates")} == {("message",)}
        assert len(token) >= 22
        assert token not in repr(logs)
        assert BOT not in repr(logs)

    run(tmp_path, scenario)


def test_nothing_is_sent_to_a_bot_without_a_chat(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        before = await scene.destination()
        routed = {"dialect": "tocsin", "source": "s", "type": "t", "subject": None, "severity": None}
        assert scene.stage.catalog.routing(DEFAULT_ORGANISATION).route(**routed) == []  # type: ignore[arg-type]
        scene.telegram.start(await scene.token(before))
        await scene.over()
        (found,) = scene.stage.catalog.routing(DEFAULT_ORGANISATION).route(**routed)  # type: ignore[arg-type]
        assert found.id == before.id

    run(tmp_path, scenario)


def test_a_link_is_good_once_and_a_wrong_one_is_answered_once_in_a_chat(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        first, second = await scene.destination("first"), await scene.destination("second")
        used, waiting = await scene.token(first), await scene.token(second)
        assert len(scene.links._polls) == 1
        scene.telegram.start(used, chat_id=1)
        await scene.answered("Connected")
        for chat_id in (2, 2, 3, 4):
            scene.telegram.start(used, chat_id=chat_id)
        scene.telegram.say("hello", chat_id=5)
        scene.telegram.say("/start", chat_id=5)
        scene.telegram.start(waiting, chat_id=6)
        await scene.over()
        assert scene.current(first).address["chat_id"] == 1
        assert scene.current(second).address["chat_id"] == 6
        assert [chat for chat, _ in scene.said(WRONG)] == ["2", "3"]
        assert len(scene.said()) == 4

    run(tmp_path, scenario, TelegramLinkLimits(poll_s=2, refusals_max=2))


def test_a_new_link_ends_the_old_one(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        old, new = await scene.token(destination), await scene.token(destination)
        scene.telegram.start(old, chat_id=1)
        await scene.answered(WRONG)
        scene.telegram.start(new, chat_id=2)
        await scene.over()
        assert scene.current(destination).address["chat_id"] == 2

    run(tmp_path, scenario)


def test_a_link_expires_and_nobody_listens_any_more(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        token = await scene.token(destination)
        await scene.telegram.until(lambda: scene.asked("getUpdates") != [])
        scene.stage.clock.advance_ms(QUICK.expires_s * 1000 - 1)
        assert scene.links.status(destination).state is LinkState.WAITING
        scene.stage.clock.advance_ms(1)
        assert scene.links.status(destination).state is LinkState.EXPIRED
        scene.telegram.start(token)
        await scene.over()
        assert "chat_id" not in scene.current(destination).address
        assert scene.said("Connected") == []

    run(tmp_path, scenario)


def test_another_listener_is_borne_for_a_while_and_then_told(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        token = await scene.token(destination)
        await scene.telegram.until(lambda: scene.asked("getUpdates") != [])
        scene.telegram.script(Answer(status=409), Answer(status=503), Answer(status=409), Answer(status=409))
        scene.telegram.say("anything")
        await scene.telegram.until(lambda: len(scene.asked("getUpdates")) >= 6)
        scene.telegram.start(token)
        await scene.over()
        assert scene.links.status(destination).state is LinkState.CONNECTED

        await scene.token(destination)
        await scene.telegram.until(lambda: scene.telegram.requests[-1].target.endswith("/getUpdates"))
        scene.telegram.script(*[Answer(status=409)] * QUICK.conflicts_max)
        scene.telegram.say("anything")
        await scene.over()
        status = scene.links.status(destination)
        assert status.state is LinkState.FAILED
        assert status.error is not None
        assert "terminated by other getUpdates request" in status.error

    run(tmp_path, scenario)


def test_a_bot_that_is_revoked_ends_its_links_alone(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        lost, other = await scene.destination("lost"), await scene.destination("other", OTHER_BOT)
        await scene.token(lost)
        await scene.telegram.until(lambda: scene.asked("getUpdates") != [])
        scene.telegram.script(Answer(status=401))
        scene.telegram.say("anything")
        await scene.over()
        assert scene.links.status(lost) == LinkStatus(LinkState.FAILED, "Telegram answered 401: Unauthorized")
        scene.telegram.start(await scene.token(other), chat_id=9)
        await scene.over()
        assert scene.current(other).address["chat_id"] == 9

    run(tmp_path, scenario)


def test_a_token_is_good_for_its_own_bot_alone(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        mine, other = await scene.destination("mine"), await scene.destination("other", OTHER_BOT)
        token = await scene.token(mine)
        await scene.token(other)
        scene.telegram.start(token, bot=OTHER_BOT, chat_id=66)
        await scene.answered(WRONG)
        assert "chat_id" not in scene.current(mine).address
        assert scene.links.status(mine).state is LinkState.WAITING

    run(tmp_path, scenario)


def test_what_changed_meanwhile_stays(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        replaced, gone = await scene.destination("replaced"), await scene.destination("gone")
        renamed = await scene.destination("renamed")
        tokens = [await scene.token(each) for each in (replaced, gone, renamed)]
        changes = {"address": {"bot_token": OTHER_BOT}}
        await scene.stage.destinations.change(DEFAULT_ORGANISATION, replaced.id, changes)
        await scene.stage.destinations.change(DEFAULT_ORGANISATION, renamed.id, {"name": "@news\nnew"})
        await scene.stage.destinations.delete(DEFAULT_ORGANISATION, gone.id)
        for token in tokens:
            scene.telegram.start(token)
        await scene.over()
        assert scene.links.status(replaced).error == "the destination has another bot by now"
        assert scene.links.status(gone).error == "the destination is gone"
        assert len(scene.said("This chat could not be connected.")) == 2
        assert scene.current(renamed).name == "@news\nnew"
        assert scene.said("Connected") == [("42", "Connected: what is sent to @\u200bnews new will be told here.")]

    run(tmp_path, scenario)


def test_a_destination_that_was_disabled_for_its_chat_is_enabled(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        dead, by_hand = await scene.destination("dead", chat_id=1), await scene.destination("hand", chat_id=1)
        reasons: tuple[tuple[Destination, str | None], ...] = ((dead, "chat not found"), (by_hand, None))
        for each, reason in reasons:
            changed = msgspec.structs.replace(
                scene.current(each), enabled=False, disabled_reason=reason, learned={"chat_id": 2}
            )
            await scene.stage.catalog.save(changed)
            scene.telegram.start(await scene.token(each), chat_id=7)
            await scene.over()
        assert scene.current(dead).enabled
        assert scene.current(dead).disabled_reason is None
        assert not scene.current(by_hand).enabled
        assert [scene.current(each).learned for each in (dead, by_hand)] == [{}, {}]

    run(tmp_path, scenario)


# -- links that are not made --------------------------------------------------------------------------------


async def refusal(opening: Awaitable[Any]) -> TocsinError:
    with pytest.raises(TocsinError) as caught:
        await opening
    assert BOT.partition(":")[2] not in caught.value.detail
    return caught.value


def test_what_has_no_bot_gets_no_link(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        webhook = await scene.stage.destination("hook")
        for opening in (scene.links.open(webhook),):
            assert (await refusal(opening)).code == "telegram_bot_missing"
        with pytest.raises(Conflict, match="the account has no Telegram bot"):
            scene.links.contact(DEFAULT_ORGANISATION)
        with pytest.raises(NotFound) as caught:
            scene.links.status(webhook)
        assert caught.value.code == "telegram_link_not_found"
        assert list(scene.telegram.requests) == []

    run(tmp_path, scenario)


def test_a_bot_that_cannot_be_asked_gets_no_link(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        for answer, kind, code in (
            (Answer(status=401), Unprocessable, "telegram_bot_refused"),
            (Answer(status=404), Unprocessable, "telegram_bot_refused"),
            (Answer(status=429, retry_after=7.0), Unavailable, "telegram_unavailable"),
            (Answer(status=502, html=True), Unavailable, "telegram_unavailable"),
        ):
            scene.telegram.script(answer)
            error = await refusal(scene.links.open(destination))
            assert (type(error), error.code) == (kind, code)
            if answer.status == 429:
                assert error.retry_after_s is not None
                assert error.retry_after_s >= 7
        await scene.telegram.leave()
        assert (await refusal(scene.links.open(destination))).code == "telegram_unavailable"
        assert scene.links._polls == {}

    run(tmp_path, scenario)


def test_as_many_links_are_open_as_may(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        first, second = await scene.destination("first"), await scene.destination("second")
        await scene.token(first)
        assert (await refusal(scene.links.open(second))).code == "telegram_link_limit_reached"
        scene.telegram.start(await scene.token(first))
        await scene.over()
        await scene.token(second)

    run(tmp_path, scenario, TelegramLinkLimits(poll_s=2, open_max=1))


def test_one_organisation_does_not_take_the_links_of_all(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        first, second = await scene.destination("first"), await scene.destination("second")
        elsewhere = Organisation(id=OrganisationId(b"f" * 16), name="elsewhere", created_ms=0)
        await scene.stage.catalog.save(elsewhere)
        other = await scene.stage.destination(
            "third", transport=Transport.TELEGRAM, address={"bot_token": BOT}, organisation_id=elsewhere.id
        )
        await scene.token(first)
        assert (await refusal(scene.links.open(second))).code == "telegram_link_limit_reached"
        await scene.token(other)
        await scene.token(first)

    run(tmp_path, scenario, TelegramLinkLimits(poll_s=2, organisation_max=1))


def test_another_organisation_does_not_see_a_link(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        await scene.token(destination)
        foreign = msgspec.structs.replace(destination, organisation_id=OrganisationId(b"f" * 16))
        with pytest.raises(NotFound):
            scene.links.status(foreign)

    run(tmp_path, scenario)


def test_a_bot_with_a_webhook_gets_no_link(tmp_path: Path) -> None:
    async def scenario(scene: Scene) -> None:
        destination = await scene.destination()
        async with Receiver() as remote:
            remote.answers.append(Told(body=b'{"ok":true,"result":{"id":1,"username":"our_bot"}}'))
            remote.answers.append(Told(body=b'{"ok":true,"result":{"url":"https://example.com/hook"}}'))
            client = Client(AddressPolicy(LOOPBACK))
            await client.open()
            scene.links._bots = TelegramBots(client, remote.url().rstrip("/"))
            error = await refusal(scene.links.open(destination))
            await client.close()
        assert error.code == "telegram_webhook_set"
        assert isinstance(error, Conflict)

    run(tmp_path, scenario)
