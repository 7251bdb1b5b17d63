"""The fake of Telegram's Bot API takes and refuses messages, and tells of what users write, as the real one does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fakes.calls import DEADLINE_S, call, control, post
from gateway import Answer
from tocsin.fakes import Fakes, Telegram

TOKEN = "123456:ABC-def_9"


def ask(telegram: Telegram, method: str, parameters: Any = None, *, token: str = TOKEN) -> Answer:
    """Call a method."""
    return post(f"{telegram.api_base}/bot{token}/{method}", parameters or {})


def refused(answer: Answer) -> tuple[int, str]:
    """Return status and description of a refusal, whose status stands in its body, too."""
    assert answer.json["ok"] is False
    assert answer.json["error_code"] == answer.status
    return answer.status, answer.json["description"]


def test_a_bot_knows_itself(fakes: Fakes) -> None:
    told = ask(fakes.telegram, "getMe").json
    assert told["ok"] is True
    assert (told["result"]["id"], told["result"]["is_bot"]) == (123456, True)


@pytest.mark.parametrize("token", ["123456", "abc:def", "0:abc", "123456:a/b", "123456:", "123456:a%20b"])
def test_a_token_of_another_form_is_not_found(fakes: Fakes, token: str) -> None:
    assert refused(ask(fakes.telegram, "getMe", token=token)) == (404, "Not Found")


def test_an_unknown_method_is_not_found(fakes: Fakes) -> None:
    assert refused(ask(fakes.telegram, "sendRichMessage")) == (404, "Not Found")


@pytest.mark.parametrize("chat", [42, "42", -100123, "@channel"])
def test_a_text_arrives_trimmed_in_its_chat(fakes: Fakes, chat: Any) -> None:
    told = ask(fakes.telegram, "sendMessage", {"chat_id": chat, "text": " hello \n"}).json["result"]

    assert told["text"] == "hello"
    kept = fakes.telegram.messages[0]
    assert (kept.chat_id, kept.text, kept.id, kept.bot) == (str(chat), "hello", told["message_id"], TOKEN)


def test_parameters_come_as_a_form_or_in_the_query_as_well(fakes: Fakes) -> None:
    url = f"{fakes.telegram.api_base}/bot{TOKEN}/SENDMESSAGE"
    form = post(url, b"chat_id=1&text=%C3%BC", **{"Content-Type": "application/x-www-form-urlencoded"})
    query = call("GET", f"{url}?chat_id=2&text=b")

    assert (form.json["result"]["text"], query.json["result"]["text"]) == ("ü", "b")


@pytest.mark.parametrize(
    ("parameters", "description"),
    [
        ({"text": "x"}, "chat_id is empty"),
        ({"chat_id": "", "text": "x"}, "chat_id is empty"),
        ({"chat_id": "somebody", "text": "x"}, "chat not found"),
        ({"chat_id": True, "text": "x"}, "chat not found"),
        ({"chat_id": [1], "text": "x"}, "chat not found"),
        ({"chat_id": 1}, "message text is empty"),
        ({"chat_id": 1, "text": " \n"}, "message text is empty"),
        ({"chat_id": 1, "text": "x" * 4097}, "message is too long"),
        ({"chat_id": 1, "text": "🎉" * 2048 + "x"}, "message is too long"),
        ({"chat_id": 1, "text": "x", "parse_mode": "Latex"}, "unsupported parse_mode"),
    ],
)
def test_what_is_no_message_is_refused_in_telegrams_words(fakes: Fakes, parameters: Any, description: str) -> None:
    assert refused(ask(fakes.telegram, "sendMessage", parameters)) == (400, f"Bad Request: {description}")
    assert fakes.telegram.messages == []


@pytest.mark.parametrize("text", ["x" * 4096, "🎉" * 2048])
def test_the_longest_text_is_taken(fakes: Fakes, text: str) -> None:
    assert ask(fakes.telegram, "sendMessage", {"chat_id": 1, "text": text}).json["result"]["text"] == text


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"chat_id":1,"text":"\\ud800"}'])
def test_a_body_that_is_no_object_is_refused(fakes: Fakes, body: bytes) -> None:
    answer = post(f"{fakes.telegram.api_base}/bot{TOKEN}/sendMessage", body, **{"Content-Type": "application/json"})
    assert refused(answer) == (400, "Bad Request: can't parse JSON object")


def test_a_message_is_changed_by_its_bot_and_only_to_another_text(fakes: Fakes) -> None:
    telegram = fakes.telegram
    sent = ask(telegram, "sendMessage", {"chat_id": 1, "text": "one"}).json["result"]
    change = {"chat_id": 1, "message_id": sent["message_id"], "text": "two"}

    changed = ask(telegram, "editMessageText", change)
    same = ask(telegram, "editMessageText", change)
    foreign = ask(telegram, "editMessageText", change, token="9:other")
    elsewhere = ask(telegram, "editMessageText", {**change, "chat_id": 2})

    assert changed.json["result"]["text"] == "two"
    assert "edit_date" in changed.json["result"]
    assert refused(same)[1].startswith("Bad Request: message is not modified: ")
    for each in (foreign, elsewhere):
        assert refused(each) == (400, "Bad Request: message to edit not found")
    assert (telegram.messages[0].text, telegram.messages[0].edits) == ("two", 1)
    assert ask(telegram, "deleteMessage", change).json == {"ok": True, "result": True}
    assert telegram.messages == []


def test_a_user_who_follows_a_link_reaches_the_bot_once(fakes: Fakes) -> None:
    telegram = fakes.telegram
    assert ask(telegram, "getUpdates").json["result"] == []
    assert control(telegram.url, "telegram", {"do": {"start": {"token": "t0k", "chat_id": 77}}}).status == 200

    first, again = (ask(telegram, "getUpdates").json["result"] for _ in range(2))
    assert first == again
    assert first[0]["message"]["text"] == "/start t0k"
    assert first[0]["message"]["chat"] == {"id": 77, "type": "private", "first_name": "Somebody"}
    assert ask(telegram, "getWebhookInfo").json["result"]["pending_update_count"] == 1
    assert ask(telegram, "getUpdates", {"offset": first[0]["update_id"] + 1}).json["result"] == []
    assert ask(telegram, "getUpdates").json["result"] == []
    assert len(ask(telegram, "getUpdates", token="9:other").json["result"]) == 1


def test_a_long_poll_ends_when_a_user_writes(fakes: Fakes) -> None:
    telegram = fakes.telegram
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(ask, telegram, "getUpdates", {"timeout": 50})
        assert telegram.arrivals.wait_until(lambda: telegram.arrivals.count == 1, DEADLINE_S)
        assert not poll.done()
        control(telegram.url, "telegram", {"do": {"say": {"text": "hi"}}})
        assert poll.result(DEADLINE_S).json["result"][0]["message"]["text"] == "hi"


def test_a_second_poll_ends_the_first_with_409(fakes: Fakes) -> None:
    telegram = fakes.telegram
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, telegram, "getUpdates", {"timeout": 50})
        assert telegram.arrivals.wait_until(lambda: telegram.arrivals.count == 1, DEADLINE_S)
        second = ask(telegram, "getUpdates", {"timeout": 0})
        assert refused(first.result(DEADLINE_S))[0] == 409
        assert second.json["result"] == []


def test_waiting_updates_are_limited_dropped_and_kept_from_the_end(fakes: Fakes) -> None:
    telegram = fakes.telegram
    for text in ("a", "b", "c"):
        control(telegram.url, "telegram", {"do": {"say": {"text": text}}})

    assert len(ask(telegram, "getUpdates", {"limit": 2}).json["result"]) == 2
    assert [each["message"]["text"] for each in ask(telegram, "getUpdates", {"offset": -1}).json["result"]] == ["c"]
    assert ask(telegram, "deleteWebhook", {"drop_pending_updates": True}).json["result"] is True
    assert ask(telegram, "getUpdates").json["result"] == []
