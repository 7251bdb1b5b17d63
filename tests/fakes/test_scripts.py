"""Scripts make the next requests fail as they are told, and every request is noted with its time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fakes.calls import DEADLINE_S, call, control, post
from gateway import Answer as Reply
from tocsin.fakes import Answer, Fakes
from tocsin.testing.clock import ManualClock

TEXT = {"chat_id": 1, "text": "x"}


def to_discord(fakes: Fakes) -> Reply:
    """Send a message by a webhook."""
    return post(fakes.discord.webhook_url(), {"content": "x"})


def to_bot(fakes: Fakes) -> Reply:
    """Send a message by a bot."""
    messages = f"{fakes.discord.api_base}/channels/5/messages"
    return call("POST", messages, {"content": "x"}, headers={"Authorization": "Bot t"})


def to_telegram(fakes: Fakes) -> Reply:
    """Send a text."""
    return post(f"{fakes.telegram.api_base}/bot1:a/sendMessage", TEXT)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"status": 404}, 404, {"message": "Unknown Webhook", "code": 10015}),
        ({"status": 403}, 403, {"message": "Missing Permissions", "code": 50013}),
        ({"status": 401}, 401, {"message": "401: Unauthorized", "code": 0}),
        ({"status": 400, "code": 160006, "message": "No"}, 400, {"message": "No", "code": 160006}),
        ({"status": 500}, 500, {"message": "500: Internal Server Error", "code": 0}),
    ],
)
def test_discord_fails_as_it_is_told_and_then_no_longer(fakes: Fakes, answer: Any, status: int, body: Any) -> None:
    assert control(fakes.discord.url, "discord", {"answers": [answer]}).json["scripted"] == 1
    failed = to_discord(fakes)

    assert (failed.status, failed.json) == (status, body)
    assert failed.headers["x-ratelimit-remaining"] == "4"
    assert to_discord(fakes).status == 204
    assert len(fakes.discord.messages) == 1


def test_discord_tells_a_bot_that_a_user_takes_no_messages(fakes: Fakes) -> None:
    fakes.discord.script(Answer(status=403), Answer(status=404))
    assert [to_bot(fakes).json["code"] for _ in range(2)] == [50007, 10003]


def test_discord_asks_for_patience_for_as_long_as_it_is_told(fakes: Fakes) -> None:
    orders = {"answers": [{"status": 429, "retry_after": 1.5}, {"status": 429, "retry_after": 3, "global": True}]}
    control(fakes.discord.url, "discord", orders)
    mine, everybodys = to_discord(fakes), to_discord(fakes)

    assert mine.json == {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    assert (mine.headers["retry-after"], mine.headers["x-ratelimit-reset-after"]) == ("2", "1.500")
    assert (mine.headers["x-ratelimit-remaining"], mine.headers["x-ratelimit-scope"]) == ("0", "user")
    assert "via" in mine.headers
    assert "x-ratelimit-global" not in mine.headers
    assert everybodys.json["global"] is True
    assert (everybodys.headers["x-ratelimit-global"], everybodys.headers["x-ratelimit-scope"]) == ("true", "global")


def test_a_proxy_in_front_of_discord_answers_with_a_page(fakes: Fakes) -> None:
    fakes.discord.script(Answer(status=429, html=True))
    answer = to_discord(fakes)

    assert (answer.status, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
    assert "via" not in answer.headers


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        ({"status": 401}, {"error_code": 401, "description": "Unauthorized"}),
        ({"status": 403}, {"error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
        ({"status": 400}, {"error_code": 400, "description": "Bad Request: chat not found"}),
        (
            {"status": 403, "message": "Forbidden: user is deactivated"},
            {"error_code": 403, "description": "Forbidden: user is deactivated"},
        ),
        (
            {"status": 429, "retry_after": 1.5},
            {
                "error_code": 429,
                "description": "Too Many Requests: retry after 2",
                "parameters": {"retry_after": 2},
            },
        ),
        (
            {"migrate_to_chat_id": -100123},
            {
                "error_code": 400,
                "description": "Bad Request: group chat was upgraded to a supergroup chat",
                "parameters": {"migrate_to_chat_id": -100123},
            },
        ),
        ({"status": 502}, {"error_code": 502, "description": "Bad Gateway"}),
    ],
)
def test_telegram_fails_as_it_is_told_and_then_no_longer(fakes: Fakes, answer: Any, body: Any) -> None:
    control(fakes.telegram.url, "telegram", {"answers": [answer]})
    failed = to_telegram(fakes)

    assert failed.json == {"ok": False, **body}
    assert failed.status == body["error_code"]
    assert to_telegram(fakes).status == 200
    assert len(fakes.telegram.messages) == 1


def test_a_slow_answer_is_not_there_although_the_request_is(fakes: Fakes) -> None:
    control(fakes.discord.url, "discord", {"answers": [{"delay_s": 600}]})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(to_discord, fakes)
        assert fakes.discord.arrivals.wait_until(lambda: fakes.discord.arrivals.count == 1, DEADLINE_S)
        assert to_discord(fakes).status == 204
        assert not waiting.done()
        control(fakes.page.url, "discord", {"listening": False})
        with pytest.raises(ConnectionError):
            waiting.result(DEADLINE_S)
    assert [each.status for each in fakes.discord.requests] == [None, 204]


def test_a_delayed_request_is_answered_as_usual(fakes: Fakes) -> None:
    control(fakes.discord.url, "discord", {"answers": [{"delay_s": 0.01}, {"delay_s": 0.01, "status": 500}]})
    assert [to_discord(fakes).status for _ in range(2)] == [204, 500]


@pytest.mark.parametrize("send", [to_discord, to_telegram])
def test_a_connection_is_cut_off_without_an_answer(fakes: Fakes, send: Any) -> None:
    for fake in (fakes.discord, fakes.telegram):
        control(fake.url, fake.name, {"answers": [{"down": True}]})
    with pytest.raises(ConnectionError):
        send(fakes)
    assert send(fakes).status in (200, 204)


@pytest.mark.parametrize(("name", "send"), [("discord", to_discord), ("telegram", to_telegram)])
def test_a_port_is_left_and_taken_again(fakes: Fakes, name: str, send: Any) -> None:
    before = getattr(fakes, name).url
    assert control(fakes.page.url, name, {"listening": False}).json["listening"] is False
    with pytest.raises(ConnectionRefusedError):
        send(fakes)
    assert control(fakes.page.url, name, {"listening": True}).json["listening"] is True
    assert getattr(fakes, name).url == before
    assert send(fakes).status in (200, 204)


def test_every_request_is_noted_with_its_time_and_the_control_is_none(fakes: Fakes, clock: ManualClock) -> None:
    control(fakes.discord.url, "discord", {"answers": [{"status": 429}]})
    to_discord(fakes)
    clock.advance_ms(1500)
    to_discord(fakes)

    first, second = fakes.discord.requests
    assert second.at_s - first.at_s == 1.5
    assert (first.status, second.status) == (429, 204)
    assert (first.method, first.target) == ("POST", "/api/v10/webhooks/1/token")
    assert first.header("Content-Type") == "application/json"
    assert first.body == b'{"content": "x"}'
    assert fakes.discord.arrivals.count == 2


def test_a_script_is_forgotten_with_all_that_was_kept(fakes: Fakes) -> None:
    to_telegram(fakes)
    control(fakes.telegram.url, "telegram", {"answers": [{"status": 500}]})
    told = control(fakes.telegram.url, "telegram", {"clear": True}).json

    assert told == {"name": "telegram", "listening": True, "requests": 1, "scripted": 0}
    assert (fakes.telegram.messages, fakes.telegram.requests) == ([], [])
    assert to_telegram(fakes).status == 200


@pytest.mark.parametrize(
    ("orders", "says"),
    [
        (b"{", "truncated"),
        (b"[]", "object"),
        ({"answer": []}, "answer"),
        ({"answers": [{"state": 429}]}, "state"),
        ({"answers": [{"status": 200}]}, "from 400 to 599"),
        ({"answers": [{"status": "429"}]}, "int"),
        ({"answers": [{}] * 1001}, "1000"),
        ({"do": {"start": {}}}, "nothing by itself"),
    ],
)
def test_an_order_that_cannot_be_followed_is_refused(fakes: Fakes, orders: Any, says: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = call("POST", f"{fakes.discord.url}/_control/discord", orders, headers=headers)

    assert answer.status == 422
    assert says in answer.json["detail"]
    assert to_discord(fakes).status == 204


def test_the_control_takes_json_alone_and_knows_its_own_fake(fakes: Fakes) -> None:
    form = {"Content-Type": "text/plain"}
    assert call("POST", f"{fakes.discord.url}/_control/discord", b"{}", headers=form).status == 415
    assert control(fakes.discord.url, "telegram", {}).status == 404
    assert control(fakes.page.url, "other", {}).status == 404
    assert call("GET", f"{fakes.discord.url}/_control/discord").status == 405
