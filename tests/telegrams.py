"""A Telegram transport, what is sent by it, and Telegram's answers, for tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from receivers import Answer
from remotes import People, json, run, shipment
from tocsin.core.delivery import Delivered
from tocsin.core.destination import Transport
from tocsin.transports.protocol import Shipment
from tocsin.transports.telegram import TelegramTransport

Scenario = Callable[[People[TelegramTransport]], Awaitable[None]]
SECRET = "AAH-token_canary4711"
TOKEN = f"700001:{SECRET}"
LONG = b'{"fields":{' + b",".join(b'"f%d":"%s"' % (n, b"x" * 900) for n in range(12)) + b"}}"
"""Takes three messages."""


def telegram(scenario: Scenario, **options: Any) -> None:
    run(TelegramTransport, scenario, path="/tg", **options)


def message(*, chat_id: object = "-5", token: str = TOKEN, **options: Any) -> Shipment:
    return shipment(Transport.TELEGRAM, address={"chat_id": chat_id}, secret={"bot_token": token}, **options)


def sent(message_id: object) -> Answer:
    return json({"ok": True, "result": {"message_id": message_id, "chat": {"id": -5}}})


def refused(status: int, description: str, **parameters: object) -> Answer:
    return json(
        {"ok": False, "error_code": status, "description": description, "parameters": parameters},
        status,
    )


async def posted_by(people: People[TelegramTransport], *answers: Answer, **options: Any) -> str:
    """Return what a message is called that these answers told of."""
    people.remote.answers.extend(answers)
    outcome = await people.send(message(**options))
    assert isinstance(outcome, Delivered)
    assert outcome.attempt.remote_id is not None
    people.remote.requests.clear()
    return outcome.attempt.remote_id
