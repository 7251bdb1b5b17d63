"""What Discord's answers come to: limits to the digit, what is final, what is dead, and nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from receivers import Answer
from remotes import People, json, run, shipment
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Rejected
from tocsin.core.destination import Transport
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.transports import discord as discord_module
from tocsin.transports.discord import DiscordTransport
from tocsin.transports.protocol import Shipment

Scenario = Callable[[People[DiscordTransport]], Awaitable[None]]
TOKEN = "hook-token-canary-4711"
BOT = "bot.token-canary_0815"
LIMITED = json({"message": "You are being rate limited.", "retry_after": 0.5, "global": True}, 429)


def discord(scenario: Scenario, **options: Any) -> None:
    run(DiscordTransport, scenario, path="/api/v10", **options)


def hooked(people: People[Any], *, name: str = "7", **options: Any) -> Shipment:
    url = people.remote.url(f"/api/v10/webhooks/{name}/{TOKEN}")
    return shipment(Transport.DISCORD, address={}, secret={"webhook_url": url}, **options)


def by_bot(token: str = BOT, user_id: str = "42", **options: Any) -> Shipment:
    options |= {
        "address": {"user_id": user_id},
        "secret": {"bot_token": token},
        "learned": {"dm_channel_id": user_id},
    }
    return shipment(Transport.DISCORD, **options)


@pytest.mark.parametrize(
    ("remaining", "reset_after", "rest_s"),
    [
        ("0", "1.337", 1.337),
        ("0", "2", 2.0),
        ("1", "1.337", 0.0),
        ("0", "nan", 0.0),
        ("0", "-1", 0.0),
        ("0", "1e9", 0.0),
        ("0", "9999999999", 86_400.0),
        ("x", "1", 0.0),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 404, 500])
def test_a_used_up_limit_rests_the_destination_whatever_the_answer(
    status: int, remaining: str, reset_after: str, rest_s: float
) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        limits = {"X_RateLimit_Remaining": remaining, "x_ratelimit_reset_after": reset_after}
        people.remote.answers.append(json({"id": "1"}, status, **limits))
        assert (await people.send(hooked(people))).rest_s == rest_s

    discord(scenario)


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (json({"retry_after": 0.723, "global": False}, 429, Retry_After="1", X_RateLimit_Reset_After="0.723"), 0.723),
        (json({"retry_after": 64}, 429), 64.0),
        (json({"retry_after": "1.5"}, 429), 1.5),
        (json({"retry_after": 10**30}, 429), 86_400.0),
        (json({"retry_after": -1}, 429, Retry_After="12"), 12.0),
        (json({"retry_after": True}, 429, Retry_After="12"), 12.0),
        (json({"retry_after": None}, 429, Retry_After="0.65"), 0.65),
        (json({"message": "no more"}, 429), 60.0),
        (json({"message": "opening direct messages too fast", "code": 40003}, 400), 60.0),
        (Answer(429, (("Retry-After", "3600"),), b"<html>error code: 1015</html>"), 3600.0),
        (Answer(429), 60.0),
    ],
)
def test_a_429_waits_as_long_as_it_was_told(answer: Answer, wait_s: float) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(hooked(people))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.retry_after_s, outcome.rest_s) == (False, wait_s, wait_s)
        assert outcome.attempt.error_class is ErrorClass.STATUS

    discord(scenario)


def test_an_address_that_two_destinations_share_rests_for_both() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "1"}, X_RateLimit_Remaining="0", X_RateLimit_Reset_After="2"))
        await people.send(hooked(people))
        people.later(0.5)
        other = await people.send(hooked(people, id=DestinationId(b"x" * 16)))
        assert isinstance(other, Deferred)
        assert (other.counted, other.retry_after_s, other.rest_s) == (False, 1.5, 1.5)
        assert other.attempt.error == "not sent: Discord wants to be left alone"
        shown = people.remote.url("/api/v10/webhooks/7/***")
        assert other.attempt.exchange.request_line == f"POST {shown}"
        assert isinstance(await people.send(hooked(people, name="8")), Delivered)
        people.later(1.5)
        assert isinstance(await people.send(hooked(people)), Delivered)
        assert len(people.remote.requests) == 3

    discord(scenario)


def test_a_burst_at_one_address_is_no_burst_of_refusals() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({"id": "1"}, X_RateLimit_Remaining="1", X_RateLimit_Reset_After="2"))
        people.remote.answers.append(json({"id": "2"}, X_RateLimit_Remaining="0", X_RateLimit_Reset_After="2"))
        outcomes = await asyncio.gather(*(people.send(hooked(people, delivery=bytes([n]))) for n in range(20)))
        assert [isinstance(each, Delivered) for each in outcomes] == [True] * 2 + [False] * 18
        assert all(each.rest_s == 2.0 for each in outcomes[2:])
        assert len(people.remote.requests) == 2

    discord(scenario)


def test_who_does_not_get_a_turn_in_time_uses_up_no_retry() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        async def silent(_: asyncio.StreamWriter) -> None:
            await asyncio.get_running_loop().create_future()

        people.remote.answers.append(silent)
        first = asyncio.ensure_future(people.send(hooked(people, timeout_s=20.0)))
        await people.remote.wait_for(1)
        outcome = await people.send(hooked(people, timeout_s=0.1))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.retry_after_s, outcome.rest_s) == (False, 1.0, 0.0)
        first.cancel()

    discord(scenario)


def test_a_bots_global_limit_rests_all_that_it_sends() -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(LIMITED)
        await people.send(by_bot())
        same = await people.send(by_bot(user_id="43"))
        assert isinstance(same, Deferred)
        assert (same.counted, same.rest_s) == (False, 0.5)
        assert isinstance(await people.send(by_bot("another.bot-token", "44")), Delivered)
        assert isinstance(await people.send(hooked(people)), Delivered)
        people.later(0.5)
        assert isinstance(await people.send(by_bot(user_id="43")), Delivered)

    discord(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        LIMITED,
        json({"retry_after": 0.5}, 429, X_RateLimit_Scope="global"),
        json({"retry_after": 0.5}, 429, X_RateLimit_Global="true"),
        Answer(429, (("Retry-After", "1"),), b"<html>"),
    ],
)
def test_a_limit_on_the_machine_rests_all_webhooks(answer: Answer) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(answer)
        await people.send(hooked(people))
        assert isinstance(await people.send(hooked(people, name="8")), Deferred)
        people.later(1)
        assert isinstance(await people.send(hooked(people, name="8")), Delivered)

    discord(scenario)


def test_a_host_that_is_not_discords_stops_nobody_else() -> None:
    def make(client: Any, clock: Any, base: str) -> DiscordTransport:
        return DiscordTransport(client, clock, "https://discord.com/api/v10")

    async def scenario(people: People[DiscordTransport]) -> None:
        for answer in (LIMITED, Answer(429)):
            people.remote.answers.append(answer)
            await people.send(hooked(people))
            assert isinstance(await people.send(hooked(people, name="8")), Delivered)
            people.later(60)

    run(make, scenario)


def test_refusals_stop_before_discord_shuts_the_machine_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord_module, "REFUSALS_MAX", 3)

    async def scenario(people: People[DiscordTransport]) -> None:
        shared = json({"retry_after": 1}, 429, X_RateLimit_Scope="shared")
        refusals = [json({}, 403), json({}, 401), json({"retry_after": 1}, 429)]
        people.remote.answers.extend([shared, *refusals])
        for number in range(4):
            await people.send(hooked(people, name=str(number)))
            people.later(10)
        stopped = await people.send(hooked(people, name="9"))
        assert isinstance(stopped, Deferred)
        assert (stopped.counted, stopped.rest_s) == (False, 600 - 30)
        assert len(people.remote.requests) == 4
        people.later(600 - 30)
        assert isinstance(await people.send(hooked(people, name="9")), Delivered)

    discord(scenario)


def test_an_organisation_that_is_refused_too_often_is_held_back_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord_module, "REFUSALS_SHARE", 3)
    evil = OrganisationId(b"e" * 16)

    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.extend([json({"message": "401: Unauthorized"}, 401)] * 3)
        for number in range(3):
            await people.send(by_bot(f"bad.token-{number}", organisation_id=evil))
            people.later(10)
        for sent in (by_bot("bad.token-4", organisation_id=evil), hooked(people, organisation_id=evil)):
            stopped = await people.send(sent)
            assert isinstance(stopped, Deferred)
            assert (stopped.counted, stopped.rest_s) == (False, 600 - 30)
            assert stopped.attempt.error == "not sent: Discord refused 3 requests of this organisation"
        assert len(people.remote.requests) == 3
        assert isinstance(await people.send(hooked(people)), Delivered)
        people.later(600 - 30)
        assert isinstance(await people.send(hooked(people, organisation_id=evil)), Delivered)

    discord(scenario)


def test_refusals_elsewhere_do_not_stop_discord(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discord_module, "REFUSALS_MAX", 1)

    def make(client: Any, clock: Any, base: str) -> DiscordTransport:
        return DiscordTransport(client, clock, base.replace("127.0.0.1", "localhost"))

    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(json({}, 403))
        await people.send(hooked(people))
        assert isinstance(await people.send(by_bot()), Delivered)
        people.remote.answers.append(json({}, 403))
        await people.send(by_bot())
        assert isinstance(await people.send(by_bot(user_id="43")), Deferred)

    run(make, scenario)


@pytest.mark.parametrize(
    ("answer", "disable", "error"),
    [
        (json({"message": "Unknown Webhook", "code": 10015}, 404), True, "Discord answered 404: Unknown Webhook"),
        (json({"message": "Invalid Webhook Token", "code": 50027}, 401), True, "Invalid Webhook Token"),
        (json({"message": "Missing Permissions", "code": 50013}, 403), True, "Missing Permissions"),
        (Answer(404), True, "Discord answered 404"),
        (
            json({"message": "Invalid Form Body", "code": 50035}, 400),
            False,
            "Discord answered 400: Invalid Form Body",
        ),
        (Answer(400, body=b"\xff"), False, "Discord answered 400"),
        (Answer(413), False, "Discord answered 413"),
    ],
)
def test_what_is_final_is_given_up_and_what_is_dead_disabled(answer: Answer, disable: bool, error: str) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(hooked(people))
        assert isinstance(outcome, Rejected)
        assert outcome.disable is disable
        assert outcome.attempt.error is not None
        assert outcome.attempt.error.endswith(error)
        # What waited behind it at a dead address is not sent.
        assert isinstance(await people.send(hooked(people)), Deferred if disable else Delivered)

    discord(scenario)


@pytest.mark.parametrize(
    ("answer", "is_rejected"),
    [
        (json({"message": "Cannot send messages to this user", "code": 50007}, 403), True),
        (json({"message": "Missing Access", "code": 50001}, 403), True),
        (json({"message": "401: Unauthorized", "code": 0}, 401), True),
        (json({"message": "404: Not Found", "code": 0}, 404), False),
        (Answer(404, body=b"<html>"), False),
        (Answer(401, body=b"<html>"), False),
    ],
)
def test_at_the_api_only_discord_itself_says_what_is_dead(answer: Answer, is_rejected: bool) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(by_bot())
        assert isinstance(outcome, Rejected if is_rejected else Deferred)
        assert not isinstance(outcome, Rejected) or outcome.disable

    discord(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(503, (("Retry-After", "9"),)),
        Answer(302, (("Location", "/other"),)),
        Answer(408),
        Answer(403, body=b"error code: 1010"),
        json({"message": "internal network error", "code": 40333}, 403),
    ],
)
def test_what_may_pass_is_tried_again(answer: Answer) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(hooked(people))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.rest_s) == (True, 0.0)
        assert len(people.remote.requests) == 1

    discord(scenario)


def test_the_faults_of_a_body_are_told_in_one_line() -> None:
    fault = {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 256\nor fewer in length."}]}
    tree = {"embeds": {"0": {"title": fault, "fields": {"3": {"name": fault}}}}, "_errors": [{"message": TOKEN}]}

    async def scenario(people: People[DiscordTransport]) -> None:
        told = {"message": "Invalid Form Body", "code": 50035}
        people.remote.answers.append(json(told | {"errors": tree}, 400))
        outcome = await people.send(hooked(people))
        assert outcome.attempt.error == (
            "Discord answered 400: Invalid Form Body (embeds.0.title: Must be 256 or fewer in length.; "
            "embeds.0.fields.3.name: Must be 256 or fewer in length.; ***)"
        )
        many = {str(number): fault for number in range(100)}
        people.remote.answers.append(json(told | {"errors": many}, 400))
        outcome = await people.send(hooked(people))
        assert outcome.attempt.error is not None
        assert len(outcome.attempt.error) <= 500
        assert outcome.attempt.error.count("Must be") == 8

    discord(scenario)


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just(TOKEN) | st.just(BOT),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "code", "message", "errors", "_errors", "retry_after", "global", TOKEN, "x"]),
            inner,
        )
    ),
    max_leaves=12,
)
STATUSES = st.sampled_from([200, 201, 204, 302, 400, 401, 403, 404, 405, 429, 500, 503])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(STATUSES, st.binary(max_size=64) | NONSENSE), min_size=1, max_size=12))
def test_no_answer_breaks_the_transport_or_shows_a_token(answers: list[tuple[int, Any]]) -> None:
    async def scenario(people: People[DiscordTransport]) -> None:
        for number, (status, said) in enumerate(answers):
            body = Answer(status, body=said) if isinstance(said, bytes) else json(said, status, X_A=TOKEN, X_B=BOT)
            people.remote.answers.extend([sendable(body)] * 4)
            posted = "1" if number % 2 else None
            for sent, token in ((hooked(people, posted=posted), TOKEN), (by_bot(), BOT)):
                with capture_logs() as logs:
                    outcome = await people.send(sent)
                text = repr((outcome, logs))
                assert token not in text
                assert outcome.attempt.error_class is not ErrorClass.INTERNAL or "not sent" in text
                people.later(86_400)
            people.remote.answers.clear()

    discord(scenario)


def sendable(answer: Answer) -> Answer:
    """Return an answer that HTTP allows: 204 has no body."""
    return Answer(answer.status, answer.headers) if answer.status == 204 else answer
