"""What Telegram's answers come to: how long to wait, what is final, what is dead, and nonsense."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from receivers import Answer
from remotes import People, json
from telegrams import LONG, SECRET, TOKEN, message, posted_by, refused, sent, telegram
from tocsin.core.delivery import Deferred, Delivered, ErrorClass, Rejected
from tocsin.transports.telegram import TelegramTransport


@pytest.mark.parametrize(
    ("answer", "wait_s"),
    [
        (refused(429, "Too Many Requests: retry after 35", retry_after=35), 35.0),
        (json({"ok": False, "error_code": 429}, 200), 60.0),
        (Answer(429, (("Retry-After", "12"),), b"<html>"), 12.0),
        (refused(429, "", retry_after="x"), 60.0),
    ],
)
def test_a_429_waits_as_long_as_it_was_told(answer: Answer, wait_s: float) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(message())
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.retry_after_s, outcome.rest_s) == (False, wait_s, wait_s)

    telegram(scenario)


@pytest.mark.parametrize(
    ("answer", "disable"),
    [
        (refused(403, "Forbidden: bot was blocked by the user"), True),
        (refused(403, "Forbidden: user is deactivated"), True),
        (refused(403, "Forbidden: bot was kicked from the supergroup chat"), True),
        (refused(403, "Forbidden: the group chat was deleted"), True),
        (refused(400, "Bad Request: chat not found"), True),
        (refused(401, "Unauthorized"), True),
        (refused(404, "Not Found"), True),
        (refused(400, "Bad Request: message is too long"), False),
        (refused(400, "Bad Request: message to edit not found"), False),
    ],
)
def test_what_is_final_is_given_up_and_what_is_dead_disabled(answer: Answer, disable: bool) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(answer)
        outcome = await people.send(message())
        assert isinstance(outcome, Rejected)
        assert outcome.disable is disable
        assert outcome.attempt.error is not None
        assert outcome.attempt.error.startswith(f"Telegram answered {answer.status}: ")
        assert isinstance(await people.send(message()), Deferred if disable else Delivered)

    telegram(scenario)


@pytest.mark.parametrize("status", [302, 401, 403, 404, 408, 500, 502])
def test_what_is_not_telegrams_own_answer_is_tried_again(status: int) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.append(Answer(status, body=b"<html>nginx</html>"))
        outcome = await people.send(message())
        assert isinstance(outcome, Deferred)
        assert (outcome.counted, outcome.rest_s) == (True, 0.0)

    telegram(scenario)


def test_a_success_that_says_no_is_none() -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        people.remote.answers.extend([json({"ok": False}), json({"ok": False, "error_code": 403})])
        assert isinstance(await people.send(message()), Deferred)
        assert isinstance(await people.send(message()), Rejected)

    telegram(scenario)


NONSENSE = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just(TOKEN) | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "ok",
                    "result",
                    "message_id",
                    "error_code",
                    "description",
                    "parameters",
                    "retry_after",
                    "migrate_to_chat_id",
                    SECRET,
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([200, 302, 400, 401, 403, 404, 429, 500]), st.binary(max_size=64) | NONSENSE),
        min_size=1,
        max_size=12,
    )
)
def test_no_answer_breaks_the_transport_or_shows_a_token(answers: list[tuple[int, Any]]) -> None:
    async def scenario(people: People[TelegramTransport]) -> None:
        posted = await posted_by(people, sent(7))
        for number, (status, said) in enumerate(answers):
            body = Answer(status, body=said) if isinstance(said, bytes) else json(said, status, X_A=TOKEN, X_B=SECRET)
            people.remote.answers.extend([body] * 16)
            with capture_logs() as logs:
                outcome = await people.send(message(posted=posted if number % 2 else None, data=LONG))
            text = repr((outcome, logs))
            assert SECRET not in text
            assert outcome.attempt.error_class is not ErrorClass.INTERNAL
            people.remote.answers.clear()
            people.later(86_400)

    telegram(scenario)
