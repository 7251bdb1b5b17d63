"""What is understood of the Bot API's answers, from whatever may answer in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from receivers import LOOPBACK, Answer, Receiver
from tocsin.transports.addresses import AddressPolicy
from tocsin.transports.outbound import Client
from tocsin.transports.telegram_api import BotFault, BotFaultKind, Said, TelegramBots

TOKEN = "123:c4nary-of-the-bot"


def ask(asking: Callable[[TelegramBots], Awaitable[Any]], *answers: Answer) -> tuple[Any, Receiver]:
    """Return what a question comes to, its fault included."""

    async def main() -> tuple[Any, Receiver]:
        client = Client(AddressPolicy(LOOPBACK))
        await client.open()
        async with Receiver() as remote, asyncio.timeout(30):
            remote.answers.extend(answers)
            try:
                return await asking(TelegramBots(client, remote.url(""))), remote
            except BotFault as fault:
                return fault, remote
            finally:
                await client.close()

    return asyncio.run(main())


def answer(value: Any, status: int = 200) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), msgspec.json.encode(value))


def update(**message: Any) -> dict[str, Any]:
    return {"update_id": 7, "message": {"chat": {"id": 42}, "text": "hello"} | message}


def test_what_people_wrote_is_read_and_the_rest_is_passed_over() -> None:
    told = answer(
        {
            "ok": True,
            "result": [
                update(),
                {"update_id": 8, "edited_message": {"chat": {"id": 1}, "text": "no"}},
                update(chat={"id": True}),
                update(chat="x", text=None),
                update(chat={"id": 2**70}),
                {"message": {}},
                "nonsense",
            ],
        }
    )
    said, remote = ask(lambda bots: bots.updates(TOKEN, offset=7, wait_s=0), told)
    assert said == [Said(7, 42, "hello"), Said(8, None, ""), Said(7, None, "hello"), Said(7, None, ""),
                    Said(7, None, "hello")]  # fmt: skip
    (request,) = remote.requests
    assert request.target == f"/bot{TOKEN}/getUpdates"
    assert msgspec.json.decode(request.body) == {
        "timeout": 0, "limit": 8, "allowed_updates": ["message"], "offset": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        Answer(200, body=b"<html>"),
        Answer(200, body=b"[]"),
        Answer(200, body=b"[" * 100_000),
        answer({"result": []}),
        answer({"ok": 1, "result": []}),
        answer({"ok": True, "result": {}}),
        answer({"ok": True}),
        Answer(200, body=b'{"ok":true,"result":[' + b" " * 1_048_576 + b"]}"),
        Answer(502, body=b"<html>"),
        answer({"ok": False, "error_code": 500, "description": "Internal"}, 500),
        answer({"ok": False, "error_code": 429, "description": "later"}, 429),
    ],
)
def test_what_is_no_answer_of_telegrams_is_tried_again(told: Answer) -> None:
    fault, _ = ask(lambda bots: bots.updates(TOKEN, offset=None, wait_s=0), told)
    assert isinstance(fault, BotFault)
    assert fault.kind is BotFaultKind.UNAVAILABLE
    assert (fault.wait_s is not None) == (told.status == 429)


@pytest.mark.parametrize(("status", "kind"), [(401, "refused"), (404, "refused"), (409, "conflict")])
def test_a_refusal_does_not_repeat_the_token(status: int, kind: str) -> None:
    described = f"no such bot{TOKEN}\nor {TOKEN.partition(':')[2]}" + "x" * 1000
    refusal = answer({"ok": False, "error_code": status, "description": described}, status)
    fault, _ = ask(lambda bots: bots.username(TOKEN), refusal)
    assert (fault.kind, "c4nary" in fault.text, "\n" in fault.text) == (kind, False, False)
    assert len(fault.text) < 300


@pytest.mark.parametrize("result", [{}, [], {"username": 7}, {"username": "a/b?c"}, {"username": "a" * 65}])
def test_a_name_that_no_link_could_have_is_refused(result: Any) -> None:
    fault, _ = ask(lambda bots: bots.username(TOKEN), answer({"ok": True, "result": result}))
    assert isinstance(fault, BotFault)


def test_a_token_that_is_none_is_not_sent_anywhere() -> None:
    fault, remote = ask(lambda bots: bots.username("1:a/../../x?"))
    assert fault.kind is BotFaultKind.REFUSED
    assert remote.requests == []
