"""The fake Discord takes, refuses, changes and limits messages as Discord does."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.calls import call, post
from tocsin.fakes import Fakes
from tocsin.fakes.discord.checking import check_message
from tocsin.testing.clock import ManualClock

BOT = {"Authorization": "Bot abc.def"}


def embed(**members: Any) -> dict[str, Any]:
    """Return a message of one embed."""
    return {"embeds": [{"title": "t", **members}]}


def fields(count: int, name: str = "n", value: str = "v") -> list[dict[str, Any]]:
    """Return so many fields."""
    return [{"name": name, "value": value, "inline": True} for _ in range(count)]


def test_a_webhook_answers_nothing_unless_it_is_asked_to_wait(fakes: Fakes) -> None:
    discord = fakes.discord
    quiet = post(discord.webhook_url(), {"content": "one"})
    told = post(f"{discord.webhook_url()}?wait=true", {"content": "two"})

    assert (quiet.status, quiet.body) == (204, b"")
    assert told.status == 200
    assert [each.content for each in discord.messages] == ["one", "two"]
    assert told.json["id"] == discord.messages[1].id
    assert told.json["webhook_id"] == "1"
    assert discord.messages[0].id != discord.messages[1].id


@pytest.mark.parametrize("prefix", ["/api", "/api/v10"])
def test_a_webhook_is_found_with_and_without_a_version(fakes: Fakes, prefix: str) -> None:
    assert post(f"{fakes.discord.url}{prefix}/webhooks/7/t-_0", {"content": "x"}).status == 204


LIMITS = [
    ({"content": "x" * 2000}, {"content": "x" * 2001}, "content"),
    ({"content": f" {'x' * 2000} "}, {"content": f" {'x' * 2001} "}, "content"),
    (embed(title="x" * 256), embed(title="x" * 257), "embeds.0.title"),
    (embed(description="x" * 4096), embed(description="x" * 4097), "embeds.0.description"),
    (embed(fields=fields(25)), embed(fields=fields(26)), "embeds.0.fields"),
    (embed(fields=fields(1, "x" * 256)), embed(fields=fields(1, "x" * 257)), "embeds.0.fields.0.name"),
    (embed(fields=fields(1, "n", "x" * 1024)), embed(fields=fields(1, "n", "x" * 1025)), "embeds.0.fields.0.value"),
    (embed(footer={"text": "x" * 2048}), embed(footer={"text": "x" * 2049}), "embeds.0.footer.text"),
    (embed(author={"name": "x" * 256}), embed(author={"name": "x" * 257}), "embeds.0.author.name"),
    (embed(color=0xFFFFFF), embed(color=0x1000000), "embeds.0.color"),
    (embed(color=0), embed(color=-1), "embeds.0.color"),
    (embed(color=1), embed(color="red"), "embeds.0.color"),
    (embed(timestamp="2026-03-06T10:30:00.000Z"), embed(timestamp="6.3.2026"), "embeds.0.timestamp"),
    (embed(fields=fields(1)), embed(fields=[{"name": "n"}]), "embeds.0.fields.0.value"),
    (embed(image={"url": "https://example.com/a"}), embed(image={"url": "ftp://a"}), "embeds.0.image.url"),
    ({"embeds": [{"title": "t"}] * 10}, {"embeds": [{"title": "t"}] * 11}, "embeds"),
    (embed(title="", description="x" * 4096, footer={"text": "x" * 1904}), None, ""),
    (None, embed(description="x" * 4096, footer={"text": "x" * 1904}), "embeds"),
    (
        {"embeds": [{"description": "x" * 3000}] * 2},
        {"embeds": [{"description": "x" * 3000}] * 2 + [{"title": "x"}]},
        "embeds",
    ),
]


@pytest.mark.parametrize(("taken", "refused", "path"), LIMITS, ids=range(len(LIMITS)))
def test_a_message_is_taken_to_the_limit_and_refused_above_it(taken: Any, refused: Any, path: str) -> None:
    if taken is not None:
        assert check_message(taken) is None
    if refused is not None:
        fault = check_message(refused)
        assert fault is not None
        assert (fault["code"], fault["message"]) == (50035, "Invalid Form Body")
        at = fault["errors"]
        for step in path.split("."):
            at = at[step]
        assert set(at["_errors"][0]) == {"code", "message"}


def test_what_is_refused_is_answered_with_discords_tree_and_kept_nowhere(fakes: Fakes) -> None:
    answer = post(fakes.discord.webhook_url(), {"embeds": [{"title": "t"}, {"fields": fields(2, "x" * 300)}]})

    error = {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 256 or fewer in length."}
    assert answer.status == 400
    assert answer.json == {
        "message": "Invalid Form Body",
        "code": 50035,
        "errors": {"embeds": {"1": {"fields": {str(n): {"name": {"_errors": [error]}} for n in range(2)}}}},
    }
    assert fakes.discord.messages == []


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b'{"content":"x"}', "text/plain", 50035),
        (b"{", "application/json", 50109),
        (b'{"content":"\\ud800"}', "application/json", 50109),
        (b"[]", "application/json", 50035),
        (b"{}", "application/json", 50006),
        (b'{"content":" "}', "application/json", 50006),
        (b'{"embeds":[{"color":1}]}', "application/json", 50006),
        (b'{"embeds":[1]}', "application/json", 50035),
        (b'{"embeds":{}}', "application/json", 50035),
        (b'{"embeds":[{"fields":{}}]}', "application/json", 50035),
        (b'{"embeds":[{"title":["x"]}]}', "application/json", 50035),
        (b'{"content":"x","allowed_mentions":{"parse":["all"]}}', "application/json", 50035),
    ],
)
def test_a_body_that_is_no_message_is_refused(fakes: Fakes, body: bytes, kind: str, code: int) -> None:
    answer = post(fakes.discord.webhook_url(), body, **{"Content-Type": kind})
    assert (answer.status, answer.json["code"]) == (400, code)


def test_a_body_that_is_too_large_is_refused(fakes: Fakes) -> None:
    answer = post(fakes.discord.webhook_url(), {"content": "x" * 1_100_000})
    assert (answer.status, answer.json["code"]) == (413, 40005)


def test_a_message_is_changed_and_deleted_by_its_webhook_alone(fakes: Fakes, clock: ManualClock) -> None:
    discord = fakes.discord
    told = post(f"{discord.webhook_url()}?wait=true", {"content": "one"}).json
    clock.advance_ms(1500)
    path = f"/messages/{told['id']}"

    foreign = call("PATCH", discord.webhook_url("2", "other") + path, {"content": "theirs"})
    changed = call("PATCH", discord.webhook_url() + path, embed(description="two"))

    assert (foreign.status, foreign.json["code"]) == (404, 10008)
    assert changed.status == 200
    assert changed.json["edited_timestamp"] > told["timestamp"]
    assert (discord.messages[0].content, discord.messages[0].edits) == ("one", 1)
    assert discord.messages[0].embeds[0]["description"] == "two"
    assert call("DELETE", discord.webhook_url() + path).status == 204
    assert discord.messages == []
    assert call("PATCH", discord.webhook_url() + path, {"content": "x"}).json["code"] == 10008


def test_a_bot_opens_the_same_channel_to_a_user_each_time_and_writes_there(fakes: Fakes) -> None:
    base = fakes.discord.api_base
    opened = [call("POST", f"{base}/users/@me/channels", {"recipient_id": "80"}, headers=BOT).json for _ in range(2)]
    messages = f"{base}/channels/{opened[0]['id']}/messages"
    told = call("POST", messages, embed(), headers=BOT)
    changed = call("PATCH", f"{messages}/{told.json['id']}", embed(title="new"), headers=BOT)

    assert opened[0] == opened[1]
    assert opened[0]["recipients"][0]["id"] == "80"
    assert (told.status, changed.status) == (200, 200)
    assert fakes.discord.messages[0].embeds[0]["title"] == "new"


@pytest.mark.parametrize("header", [{}, {"Authorization": "abc"}, {"Authorization": "Bearer abc"}])
def test_a_bot_without_a_token_is_refused(fakes: Fakes, header: dict[str, str]) -> None:
    for path in ("users/@me/channels", "channels/1/messages"):
        answer = call("POST", f"{fakes.discord.api_base}/{path}", {"content": "x"}, headers=header)
        assert (answer.status, answer.json) == (401, {"message": "401: Unauthorized", "code": 0})


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/webhooks/1/t", 405), ("POST", "/webhooks/x/t", 404), ("GET", "/", 404)]
)
def test_unknown_routes_are_told_in_discords_form(fakes: Fakes, method: str, path: str, status: int) -> None:
    answer = call(method, fakes.discord.api_base + path)
    assert (answer.status, answer.json["code"]) == (status, 0)


def test_a_window_takes_five_requests_and_tells_how_it_stands(fakes: Fakes, clock: ManualClock) -> None:
    discord = fakes.discord
    first = [post(discord.webhook_url(), {"content": "x"}) for _ in range(5)]
    clock.advance_ms(500)
    above = post(discord.webhook_url(), {"content": "x"})

    assert [each.headers["x-ratelimit-remaining"] for each in first] == ["4", "3", "2", "1", "0"]
    assert {each.headers["x-ratelimit-limit"] for each in first} == {"5"}
    assert first[4].headers["x-ratelimit-reset-after"] == "2.000"
    assert first[4].headers["x-ratelimit-reset"] == f"{clock.now_ms() / 1000 + 1.5:.3f}"
    assert above.status == 429
    assert above.json == {"message": "You are being rate limited.", "retry_after": 1.5, "global": False}
    assert above.headers["retry-after"] == "2"
    assert above.headers["x-ratelimit-reset-after"] == "1.500"
    assert above.headers["x-ratelimit-scope"] == "user"
    assert "via" in above.headers
    assert len(discord.messages) == 5


def test_each_webhook_has_a_window_of_its_own_which_ends(fakes: Fakes, clock: ManualClock) -> None:
    discord = fakes.discord
    mine = [post(discord.webhook_url(), {"content": "x"}) for _ in range(6)]
    other = post(discord.webhook_url("2", "u"), {"content": "x"})
    clock.advance_ms(1999)
    early = post(discord.webhook_url(), {"content": "x"})
    clock.advance_ms(1)
    late = post(discord.webhook_url(), {"content": "x"})

    assert [each.status for each in (mine[5], other, early, late)] == [429, 204, 429, 204]
    assert mine[0].headers["x-ratelimit-bucket"] != other.headers["x-ratelimit-bucket"]
    assert late.headers["x-ratelimit-remaining"] == "4"


@pytest.mark.parametrize(
    ("allowed", "pings"),
    [
        (None, ("@everyone", "<@5>", "<@&6>")),
        ({"parse": []}, ()),
        ({"parse": ["users"]}, ("<@5>",)),
        ({"parse": ["everyone", "roles"]}, ("@everyone", "<@&6>")),
        ({"users": ["5"]}, ("<@5>",)),
    ],
)
def test_it_is_known_whom_a_message_wakes(fakes: Fakes, allowed: Any, pings: tuple[str, ...]) -> None:
    body = {"content": "@everyone <@5> <@&6>", "embeds": [{"title": "@here"}]}
    post(fakes.discord.webhook_url(), body if allowed is None else {**body, "allowed_mentions": allowed})
    assert fakes.discord.messages[0].pings == pings
