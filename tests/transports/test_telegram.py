"""Telegram: what is sent, what is edited, and what is kept of the answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from receivers import Answer, hang
from remotes import People, RealClock, json
from telegrams import LONG, SECRET, TOKEN, message, posted_by, refused, sent, telegram
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Outcome, Rejected
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.telegram import TelegramTransport

GONE = refused(400, "Bad Request: message to edit not found")


def methods(people: People[Any]) -> list[str]:
    return [target.rpartition("/")[2] for _, target, _ in people.told()]


def test_a_text_is_sent_plain_and_its_message_is_known() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(json({"ok": True, "result": {"message_id": 7}, "echo": TOKEN}, X_Echo=SECRET))
        outcome = await people.send(message())
        assert isinstance(outcome, Delivered)
        assert (outcome.rest_s, outcome.learned) == (0.0, {})
        [(method, target, body)] = people.told()
        assert (method, target) == ("POST", f"/tg/bot{TOKEN}/sendMessage")
        assert body.pop("text").startswith("\U0001f389 Event Notification \U0001f389\n")
        assert body == {"chat_id": "-5", "link_preview_options": {"is_disabled": True}}
        attempt = outcome.attempt
        assert attempt.remote_id is not None
        assert attempt.remote_id.startswith("7@")
        assert attempt.exchange.request_line == f"POST {people.base}/bot***/sendMessage"
        assert attempt.exchange.request_headers == people.remote.requests[0].headers
        assert ("X-Echo", "***") in attempt.exchange.response_headers
        assert attempt.exchange.response_body == b'{"ok":true,"result":{"message_id":7},"echo":"***"}'

    telegram(scenario)


def test_a_long_event_takes_several_messages_of_one_attempt() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(1), sent(2), sent(3)])
        outcome = await people.send(message(data=LONG))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id is not None
        assert outcome.attempt.remote_id.startswith("1,2,3@")
        assert methods(people) == ["sendMessage"] * 3
        assert not outcome.attempt.shortened

    telegram(scenario)


def test_a_message_that_had_to_be_cut_says_so() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(number) for number in range(1, 20)])
        fields = ",".join(f'"f{number}":"{"x" * 900}"' for number in range(60))
        outcome = await people.send(message(data=f'{{"fields":{{{fields}}}}}'.encode()))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.shortened

    telegram(scenario)


def test_a_retry_goes_on_where_the_last_attempt_ended() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(1), refused(429, "Too Many Requests: retry after 3", retry_after=3)])
        first = await people.send(message(data=LONG))
        assert isinstance(first, Deferred)
        assert (first.counted, first.retry_after_s, first.rest_s) == (False, 3.0, 3.0)
        waiting = await people.send(message(delivery=b"2"))
        assert isinstance(waiting, Deferred)
        assert (waiting.counted, waiting.rest_s) == (False, 3.0)
        people.later(3)
        people.remote.answers.extend([sent(2), sent(3)])
        again = await people.send(message(data=LONG))
        assert again.attempt.remote_id is not None
        assert again.attempt.remote_id.startswith("1,2,3@")
        texts = [body["text"] for _, _, body in people.told()]
        assert len(texts) == 4
        assert len(set(texts)) == 3
        people.remote.answers.extend([sent(4), sent(5), sent(6)])
        anew = await people.send(message(data=LONG))
        assert anew.attempt.remote_id is not None
        assert anew.attempt.remote_id.startswith("4,5,6@")

    telegram(scenario)


def test_a_retry_of_another_text_edits_what_it_has_sent() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(1), Answer(500)])
        await people.send(message(data=LONG))
        people.remote.answers.append(sent(1))
        again = await people.send(message())
        assert again.attempt.remote_id is not None
        assert again.attempt.remote_id.startswith("1@")
        assert methods(people) == ["sendMessage", "sendMessage", "editMessageText"]

    telegram(scenario)


def test_a_part_of_which_no_id_is_known_is_not_sent_twice() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([Answer(200, body=b"?"), Answer(500)])
        assert isinstance(await people.send(message(data=LONG)), Deferred)
        people.remote.answers.extend([sent(2), sent(3)])
        again = await people.send(message(data=LONG))
        assert isinstance(again, Delivered)
        assert again.attempt.remote_id is None
        assert methods(people) == ["sendMessage"] * 4

    telegram(scenario)


def test_another_chat_gets_the_whole_message_though_another_had_a_part() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(1), Answer(500), sent(1), sent(2), sent(3)])
        await people.send(message(data=LONG))
        await people.send(message(data=LONG, chat_id="-6"))
        assert methods(people) == ["sendMessage"] * 5

    telegram(scenario)


def test_a_message_is_edited_where_it_stands() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7))
        people.remote.answers.append(sent(7))
        outcome = await people.send(message(posted=posted))
        [(_, target, body)] = people.told()
        assert target == f"/tg/bot{TOKEN}/editMessageText"
        assert (body["chat_id"], body["message_id"]) == ("-5", 7)
        assert "parse_mode" not in body
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id == posted
        people.remote.answers.append(refused(400, "Bad Request: message is not modified: it is the same"))
        same = await people.send(message(posted=posted))
        assert isinstance(same, Delivered)
        assert (same.attempt.remote_id, same.attempt.status_code, same.attempt.error) == (posted, 400, None)

    telegram(scenario)


@pytest.mark.parametrize(
    "gone",
    [
        GONE,
        refused(400, "Bad Request: message can't be edited"),
        refused(400, "Bad Request: MESSAGE_ID_INVALID"),
    ],
)
def test_a_message_that_cannot_be_edited_is_sent_anew_in_the_same_attempt(gone: Answer) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7))
        people.remote.answers.extend([gone, sent(8)])
        outcome = await people.send(message(posted=posted))
        assert isinstance(outcome, Delivered)
        assert outcome.attempt.remote_id == posted.replace("7@", "8@")
        assert methods(people) == ["editMessageText", "sendMessage"]

    telegram(scenario)


def test_a_longer_text_edits_what_stands_and_sends_the_rest() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7))
        people.remote.answers.extend([sent(7), sent(8), sent(9)])
        outcome = await people.send(message(posted=posted, data=LONG))
        assert outcome.attempt.remote_id == posted.replace("7@", "7,8,9@")
        assert methods(people) == ["editMessageText", "sendMessage", "sendMessage"]

    telegram(scenario)


def test_a_shorter_text_leaves_nothing_that_is_out_of_date() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(1), sent(2), sent(3), data=LONG)
        people.remote.answers.extend([sent(1), GONE, refused(429, "Too Many Requests", retry_after=4)])
        outcome = await people.send(message(posted=posted))
        assert isinstance(outcome, Delivered)
        assert (outcome.attempt.remote_id, outcome.rest_s) == (posted, 4.0)
        assert [(body["message_id"], body["text"]) for _, _, body in people.told()][1:] == [
            (2, "\u2014"),
            (3, "\u2014"),
        ]

    telegram(scenario)


def test_what_follows_a_message_that_is_gone_is_sent_anew_too() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(1), sent(2), sent(3), data=LONG)
        people.remote.answers.extend([sent(1), GONE, sent(12), sent(13), sent(3)])
        outcome = await people.send(message(posted=posted, data=LONG))
        assert outcome.attempt.remote_id == posted.replace("1,2,3@", "1,12,13@")
        assert methods(people) == ["editMessageText"] * 2 + ["sendMessage"] * 2 + ["editMessageText"]
        assert people.told()[-1][2]["message_id"] == 3

    telegram(scenario)


def test_ids_of_another_chat_or_bot_and_nonsense_are_not_edited() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7))
        for options in ({"chat_id": "-6"}, {"token": f"700002:{SECRET}"}):
            await people.send(message(posted=posted, **options))
        for nonsense in ("7", "7,8@", "../7@00000000", "x" * 200):
            await people.send(message(posted=nonsense))
        assert methods(people) == ["sendMessage"] * 6

    telegram(scenario)


def test_a_group_that_became_another_chat_is_followed_and_learned() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        moved = refused(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-100123)
        people.remote.answers.extend([moved, sent(1)])
        outcome = await people.send(message())
        assert isinstance(outcome, Delivered)
        assert outcome.learned == {"chat_id": -100123}
        assert [body["chat_id"] for _, _, body in people.told()] == ["-5", -100123]
        people.remote.answers.append(sent(2))
        later = await people.send(message(learned=outcome.learned, posted=outcome.attempt.remote_id))
        assert isinstance(later, Delivered)
        assert people.told()[-1][2]["chat_id"] == -100123
        assert methods(people)[-1] == "editMessageText"
        people.remote.answers.extend([moved, moved])
        lost = await people.send(message())
        assert isinstance(lost, Rejected)
        assert not lost.disable
        people.remote.answers.extend([moved, sent(1), moved])
        restless = await people.send(message(data=LONG))
        assert isinstance(restless, Rejected)

    telegram(scenario)


def test_no_message_is_edited_in_a_chat_that_it_is_not_in() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7), sent(8), sent(9), data=LONG)
        moved = refused(400, "Bad Request: group chat was upgraded", migrate_to_chat_id=-100123)
        people.remote.answers.extend([moved, sent(1), sent(2), sent(3)])
        outcome = await people.send(message(posted=posted, data=LONG))
        assert isinstance(outcome, Delivered)
        assert methods(people) == ["editMessageText", *["sendMessage"] * 3]
        assert outcome.attempt.remote_id is not None
        assert outcome.attempt.remote_id.startswith("1,2,3@")

    telegram(scenario)


def test_all_requests_share_the_attempts_time() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([sent(1), hang])
        outcome = await people.send(message(data=LONG, timeout_s=0.4))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.attempt.error_class) == (True, ErrorClass.TIMEOUT)

    telegram(scenario, clock=RealClock())


def test_a_full_client_uses_up_no_retry() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(hang)
        under_way = asyncio.ensure_future(people.send(message()))
        await people.remote.wait_for(1)
        outcome = await people.send(message(chat_id="-6"))
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.retry_after_s) == (False, 1.0)
        under_way.cancel()

    telegram(scenario, connections_max=1)


@pytest.mark.parametrize(
    ("chat_id", "token"), [("", TOKEN), ("a b", TOKEN), (True, TOKEN), (-5, "canary/../x"), (-5, ""), (None, TOKEN)]
)
def test_an_address_that_cannot_be_used_is_deferred(chat_id: object, token: str) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        outcome = await people.send(message(chat_id=chat_id, token=token))
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error == "the destination has no bot's token with a chat's id"
        assert "canary" not in repr(outcome)
        assert not people.remote.requests

    telegram(scenario)


def test_a_base_that_the_client_may_not_reach_says_so() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        outcome = await people.send(message())
        assert isinstance(outcome, Deferred)
        assert outcome.attempt.error == "the API's URL is not allowed: private IP address"

    telegram(scenario, policy=AddressPolicy())


def test_after_closing_no_outcome_is_told() -> None:
    told: list[Outcome] = []

    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(hang)
        people.transport.start(message(), lambda _, outcome: told.append(outcome))
        await people.remote.wait_for(1)
        await people.transport.close()
        await asyncio.sleep(0)

    telegram(scenario)
    assert not told
