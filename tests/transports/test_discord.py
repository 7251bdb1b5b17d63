"""Discord: what is asked, and what is kept of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from receivers import Answer, hang, unused_port
from remotes import HandClock, People, RealClock, json, run, shipment
from tocsin import __version__
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.core.destination import Transport
from tocsin.transports import discord as discord_module
from tocsin.transports.addresses import ANYWHERE, AddressPolicy
from tocsin.transports.discord import DiscordTransport
from tocsin.transports.outbound import Client
from tocsin.transports.protocol import Shipment

Scenario = Callable[[People[DiscordTransport]], Awaitable[None]]
TOKEN = "hook-token-canary-4711"
BOT = "bot.token-canary_0815"
UNKNOWN_MESSAGE = json({"message": "Unknown Message", "code": 10008}, 404)
UNKNOWN_CHANNEL = json({"message": "Unknown Channel", "code": 10003}, 404)


def discord(scenario: Scenario, **options: Any) -> None:
    run(DiscordTransport, scenario, path="/api/v10", **options)


def hooked(people: People[Any], *, path: str = f"/api/webhooks/7/{TOKEN}", **options: Any) -> Shipment:
    return shipment(
        Transport.DISCORD, address={}, secret={"webhook_url": people.remote.url(path)}, **{"timeout_s": 5.0} | options
    )


def by_bot(*, token: str = BOT, user_id: str = "42", **options: Any) -> Shipment:
    return shipment(Transport.DISCORD, address={"user_id": user_id}, secret={"bot_token": token}, **options)


def test_a_webhook_is_asked_to_wait_and_its_message_is_known() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "1111", "token": TOKEN}, X_Echo=f"is {TOKEN}"))
        outcome = await people.send(
            hooked(people, path=f"/api/webhooks/7/{TOKEN}/?thread_id=5&wait=false&key=hidden-1")
        )
        assert isinstance(outcome, Delivered)
        assert (outcome.rest_s, outcome.learned) == (0.0, {})
        [(method, target, body)] = people.told()
        assert (method, target) == ("POST", f"/api/webhooks/7/{TOKEN}?wait=true&thread_id=5&key=hidden-1")
        assert body["embeds"][0]["fields"] == [{"name": "a", "value": "1", "inline": True}]
        assert body["allowed_mentions"] == {"parse": []}
        attempt = outcome.attempt
        assert (attempt.remote_id, attempt.status_code, attempt.error) == ("1111", 200, None)
        assert not attempt.shortened
        shown = people.remote.url("/api/webhooks/7/***?wait=true&thread_id=5&***")
        assert attempt.exchange.request_line == f"POST {shown}"
        assert dict(attempt.exchange.request_headers) == dict(people.remote.requests[0].headers)
        assert people.remote.requests[0].header("User-Agent") == f"DiscordBot (Tocsin, {__version__})"
        assert people.remote.requests[0].header("Content-Type") == "application/json"
        assert ("X-Echo", "is ***") in attempt.exchange.response_headers
        assert attempt.exchange.response_body == b'{"id":"1111","token":"***"}'

    discord(scenario)


@pytest.mark.parametrize(
    "body", [b"", b"\xff\x00", b"[]", b'{"id":[]}', b'{"id":"a/b"}', b'{"id":true}', b"[" * 9999]
)
def test_an_answer_that_tells_no_message_is_a_delivery(body: bytes) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(Answer(200, body=body))
        outcome = await people.send(hooked(people))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id is None

    discord(scenario)


def test_a_long_answer_still_tells_its_message_and_is_shown_in_part() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"content": "\U0001f4cc" * 20_000, "id": 17}))
        outcome = await people.send(hooked(people))
        assert outcome.attempt.remote_id == "17"
        assert len(outcome.attempt.exchange.response_body) == 16 * 1024
        assert outcome.attempt.exchange.response_truncated

    discord(scenario)


@pytest.mark.parametrize("status", [200, 500])
def test_a_message_that_had_to_be_cut_says_so(status: int) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "1"}, status))
        outcome = await people.send(hooked(people, data=b'{"fields":{"a":"%s"}}' % (b"x" * 2000)))
        assert isinstance(outcome, Delivered if status == 200 else Deferred)
        assert outcome.attempt.shortened

    discord(scenario)


def test_an_id_that_is_the_secret_is_not_kept() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": TOKEN}))
        assert (await people.send(hooked(people))).attempt.remote_id is None

    discord(scenario)


def test_a_secret_is_hidden_however_its_url_writes_it() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        told = json({"message": "plain-canary/1, plain-canary%2F1 and key-canary-22"}, 500)
        people.remote.answers.append(told)
        outcome = await people.send(hooked(people, path="/webhooks/7/plain-canary%2F1?key=key-canary-22"))
        assert outcome.attempt.error == "Discord answered 500: ***, *** and ***"
        assert "canary" not in repr(outcome)
        people.remote.answers.append(json({"message": "bare-canary"}, 500))
        assert "canary" not in repr(await people.send(hooked(people, path="/webhooks/7/short?bare-canary")))
        people.remote.answers.append(json({"message": "/no/webhook-canary"}, 500))
        assert "canary" not in repr(await people.send(hooked(people, path="/no/webhook-canary")))

    discord(scenario)


def test_a_message_is_edited_where_it_stands() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "999"}))
        outcome = await people.send(hooked(people, path=f"/webhooks/7/{TOKEN}?thread_id=5", posted="1111"))
        [(method, target, body)] = people.told()
        assert (method, target) == ("PATCH", f"/webhooks/7/{TOKEN}/messages/1111?thread_id=5")
        assert body["content"] == ""
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id == "1111"
        shown = people.remote.url("/webhooks/7/***/messages/1111?thread_id=5")
        assert outcome.attempt.exchange.request_line == f"PATCH {shown}"

    discord(scenario)


@pytest.mark.parametrize(
    "gone",
    [
        UNKNOWN_MESSAGE,
        Answer(404),
        json({"message": "Cannot edit a message authored by another user", "code": 50005}, 403),
        json({"message": "Maximum number of edits", "code": 30046, "retry_after": 900}, 429),
    ],
)
def test_a_message_that_cannot_be_edited_is_sent_anew_in_the_same_attempt(gone: Answer) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.extend([gone, json({"id": "2222"}, X_RateLimit_Remaining="4"), json({"id": "3"})])
        outcome = await people.send(hooked(people, posted="1111"))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id == "2222"
        assert [method for method, _, _ in people.told()] == ["PATCH", "POST"]

    discord(scenario)


def test_what_is_sent_anew_waits_for_the_limit_and_is_not_asked_for_twice() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        limited = json({"code": 10008}, 404, X_RateLimit_Remaining="0", X_RateLimit_Reset_After="1.25")
        people.remote.answers.extend([limited, json({"id": "2222"})])
        first = await people.send(hooked(people, posted="1111"))
        assert isinstance(first, Deferred)
        assert (first.counted, first.retry_after_s, first.rest_s) == (False, 1.25, 1.25)
        people.later(1.25)
        assert (await people.send(hooked(people, posted="1111"))).attempt.remote_id == "2222"
        assert [method for method, _, _ in people.told()] == ["PATCH", "POST"]

    discord(scenario)


def test_a_posted_id_that_is_none_of_discords_is_not_put_into_a_path() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        await people.send(hooked(people, posted="../../1"))
        assert [method for method, _, _ in people.told()] == ["POST"]

    discord(scenario)


def test_a_bot_opens_its_channel_once() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        limited: dict[str, Any] = {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset_After": "30"}
        people.remote.answers.extend([json({"id": "900"}, **limited), json({"id": "1"}), json({"id": "2"})])
        first = await people.send(by_bot())
        again = await people.send(by_bot())
        later = await people.send(by_bot(learned={"dm_channel_id": "900"}, posted="1"))
        assert isinstance(first, Delivered)
        assert isinstance(again, Delivered)
        assert isinstance(later, Delivered)
        assert [each.learned for each in (first, again, later)] == [{"dm_channel_id": "900"}] * 2 + [{}]
        assert first.rest_s == 0.0
        assert [(method, target) for method, target, _ in people.told()] == [
            ("POST", "/api/v10/users/@me/channels"),
            ("POST", "/api/v10/channels/900/messages"),
            ("POST", "/api/v10/channels/900/messages"),
            ("PATCH", "/api/v10/channels/900/messages/1"),
        ]
        assert people.told()[0][2] == {"recipient_id": "42"}
        assert {each.header("Authorization") for each in people.remote.requests} == {f"Bot {BOT}"}
        assert ("Authorization", "***") in first.attempt.exchange.request_headers
        assert first.attempt.exchange.request_line == f"POST {people.base}/channels/900/messages"
        assert BOT not in repr([first, again, later])

    discord(scenario)


def test_a_learned_channel_counts_and_is_forgotten_when_it_is_gone() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        known = {"dm_channel_id": "800"}
        people.remote.answers.extend([UNKNOWN_CHANNEL, json({"id": "900"}), json({"id": "1"})])
        outcome = await people.send(by_bot(learned=known))
        await people.send(by_bot(learned=known))
        assert isinstance(outcome, Delivered)
        assert outcome.learned == {"dm_channel_id": "900"}
        assert [target for _, target, _ in people.told()] == [
            "/api/v10/channels/800/messages",
            "/api/v10/users/@me/channels",
            "/api/v10/channels/900/messages",
            "/api/v10/channels/900/messages",
        ]

    discord(scenario)


def test_a_channel_that_is_gone_is_opened_anew_once_the_limit_allows() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        limited = json({"code": 10003}, 404, X_RateLimit_Remaining="0", X_RateLimit_Reset_After="2")
        known = {"dm_channel_id": "800"}
        for channel in ("900", "901"):
            people.remote.answers.append(limited)
            outcome = await people.send(by_bot(learned=known))
            assert isinstance(outcome, Deferred)
            assert (outcome.counted, outcome.retry_after_s, outcome.rest_s) == (False, 2.0, 2.0)
            people.later(2)
            people.remote.answers.extend([json({"id": channel}), json({"id": "1"})])
            again = await people.send(by_bot(learned=known))
            assert isinstance(again, Delivered)
            assert again.learned == {"dm_channel_id": channel}

    discord(scenario)


@pytest.mark.parametrize("learned", [7, "../1", "", None])
def test_a_learned_channel_that_is_none_is_ignored(learned: object) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "900"}))
        await people.send(by_bot(learned={"dm_channel_id": learned}))
        assert people.told()[0][1] == "/api/v10/users/@me/channels"

    discord(scenario)


def test_a_channel_that_nobody_can_open_ends_the_attempt() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.extend(
            [
                json({"message": "Invalid Recipient(s)", "code": 50033}, 400),
                json({"nothing": 1}),
                UNKNOWN_CHANNEL,
                json({"id": "9"}),
                UNKNOWN_CHANNEL,
            ]
        )
        invalid = await people.send(by_bot())
        assert isinstance(invalid, Rejected)
        assert invalid.disable
        people.later(10)
        untold = await people.send(by_bot())
        assert isinstance(untold, Deferred)
        assert untold.attempt.error == "Discord opened a channel and did not tell which"
        nowhere = await people.send(by_bot(learned={"dm_channel_id": "8"}))
        assert isinstance(nowhere, Rejected)
        assert nowhere.disable

    discord(scenario)


def test_both_requests_share_the_attempts_time() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.extend([json({"id": "900"}), hang])
        outcome = await people.send(by_bot(timeout_s=0.4))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.attempt.error_class) == (True, ErrorClass.TIMEOUT)
        assert outcome.learned == {"dm_channel_id": "900"}
        assert outcome.attempt.duration_ms < 2000
        assert outcome.attempt.status_code is None

    discord(scenario, clock=RealClock())


def test_no_answer_is_deferred() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(hang)
        late = await people.send(hooked(people, timeout_s=0.2))
        url = f"http://127.0.0.1:{unused_port()}/webhooks/1/{TOKEN}"
        closed = await people.send(shipment(Transport.DISCORD, address={}, secret={"webhook_url": url}))
        for outcome, error_class in ((late, ErrorClass.TIMEOUT), (closed, ErrorClass.CONNECT)):
            assert isinstance(outcome, Deferred)
            assert (outcome.counted, outcome.attempt.error_class) == (True, error_class)

    discord(scenario)


@pytest.mark.parametrize(
    ("secret", "error"),
    [
        ({"webhook_url": "http://10.0.0.1/webhooks/1/canary"}, "URL is not allowed: private IP address"),
        ({"webhook_url": "ftp://example.com/canary"}, "URL is not allowed: neither http nor https"),
        ({"bot_token": "a b\r\nX: canary"}, "the destination has neither a webhook's URL nor a bot's token"),
        ({}, "the destination has neither a webhook's URL nor a bot's token"),
    ],
)
def test_an_address_that_cannot_be_used_is_deferred_without_showing_it(secret: dict[str, Any], error: str) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        outcome = await people.send(shipment(Transport.DISCORD, address={"user_id": "1"}, secret=secret))
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error is not None
        assert outcome.attempt.error.startswith(error)
        assert "canary" not in repr(outcome)
        assert not people.remote.requests

    discord(scenario, policy=AddressPolicy())


def test_only_the_operators_own_api_may_be_private() -> None:
    guarded = Client(AddressPolicy())

    def make(api_client: Client, clock: HandClock | RealClock, base: str) -> DiscordTransport:
        return DiscordTransport(guarded, clock, base, api_client)

    async def scenario(people: People[DiscordTransport]) -> None:
        await guarded.open()
        try:
            people.remote.answers.extend([json({"id": "900"}), json({"id": "1"})])
            assert isinstance(await people.send(by_bot()), Delivered)
            own = await people.send(hooked(people, path=f"/api/v10/webhooks/7/{TOKEN}?thread_id=3"))
            assert isinstance(own, Delivered)
            for path in (
                "/hook",
                f"/api/webhooks/7/{TOKEN}",
                "/api/v10/webhooks/7/../admin",
                "/api/v10/webhooks/7/..",
                "/api/v10/webhooks/7/%2e%2e",
                "/api/v10/webhooks/7/x/y",
                f"/api/v10/webhooks/7/{TOKEN}?a=b",
                f"/api/v10/webhooks/7/{TOKEN}#x",
                "/api/v10/channels/1/messages",
            ):
                outcome = await people.send(hooked(people, path=path))
                assert isinstance(outcome, Deferred), path
                assert outcome.attempt.error_class is ErrorClass.ADDRESS_REFUSED
            assert len(people.remote.requests) == 3
        finally:
            await guarded.close()

    run(make, scenario, path="/api/v10", policy=AddressPolicy(ANYWHERE))


def test_a_fault_of_ours_is_told_and_logged_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError(TOKEN)

    monkeypatch.setattr(discord_module, "compose", broken)

    async def scenario(people: People[DiscordTransport]) -> None:
        with capture_logs() as logs:
            outcome = await people.send(hooked(people))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.attempt.error_class) == (True, ErrorClass.INTERNAL)
        assert outcome.attempt.error == "the message could not be sent: ValueError"
        [line] = logs
        assert line["event"] == "message_not_sent"
        assert line["fault"].startswith("ValueError in broken, line ")
        assert TOKEN not in repr((outcome, logs))

    discord(scenario)


def test_after_closing_no_outcome_is_told() -> None:
    told: list[Outcome] = []

    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(hang)
        people.transport.start(hooked(people), lambda _, outcome: told.append(outcome))
        await people.remote.wait_for(1)
        await people.transport.close()
        await asyncio.sleep(0)

    discord(scenario)
    assert not told
