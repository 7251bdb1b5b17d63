"""``tocsin emit``, ``query`` and ``transact``: the transactional log from a shell."""

from __future__ import annotations

import json

import pytest

from cli.commands import Shell

pytestmark = pytest.mark.acceptance

KEY = "mailer"


def test_a_payload_is_sent_as_it_was_written(shell: Shell) -> None:
    key = shell.ok("emit", "user.created", '{"id": 7, "sum": 1.50, "big": 123456789012345678901234567890}')["key"]
    (row,) = shell.rows("query", "user.created", "--tx-key", KEY)
    assert row["key"] == key
    assert row["payload"] == {"id": 7, "sum": 1.5, "big": 123456789012345678901234567890}
    path = shell.file("payload.json", '{"from": "file"}')
    shell.ok("emit", "user.created", f"@{path}")
    shell.ok("emit", "user.created", "-", stdin='{"from": "stdin"}')
    shell.ok("emit", "user.created")
    payloads = [row["payload"] for row in shell.rows("query", "user.created", "--tx-key", KEY)]
    assert payloads[1:] == [{"from": "file"}, {"from": "stdin"}, {}]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("user.created", "{not json"), 2, "the payload is no JSON: "),
        (("user.created", "[1]"), 2, "the payload must be a JSON object"),
        (("user.created", "@nowhere.json"), 2, "nowhere.json cannot be read"),
        (("no name", "{}"), 8, "event must be 1-128 letters"),
    ],
)
def test_a_wrong_emit_is_told(shell: Shell, arguments: tuple[str, ...], status: int, says: str) -> None:
    shell.refused(status, "emit", *arguments, says=says)


def test_a_consumer_claims_works_and_ends(shell: Shell) -> None:
    done, failed = (shell.ok("emit", "user.created", f'{{"id": {number}}}')["key"] for number in (1, 2))
    for key in (done, failed):
        assert shell.ok("transact", "init", key, "--tx-key", KEY)["state"] == "processing"
    shell.refused(8, "transact", "init", done, "--tx-key", KEY, says="(409)")
    ended = shell.ok("transact", "finish", done, "--tx-key", KEY, "--result", "-", stdin="sent\n")
    assert (ended["state"], ended["output"]) == ("finished", "sent")
    assert shell.ok("transact", "fail", failed, "--tx-key", KEY)["state"] == "failed"
    (row,) = shell.rows("query", "user.created", "--tx-key", KEY, "--state", "failed")
    assert row["key"] == failed
    again = shell.ok(
        "transact", "update", failed, "--tx-key", KEY, "--event", "user.created", "--state", "processing"
    )
    assert again["key"] == failed
    assert again["payload"] == {"id": 2}


def test_an_unknown_event_is_not_found(shell: Shell) -> None:
    shell.refused(7, "transact", "init", "0" * 32, "--tx-key", KEY, says="(404)")


def test_a_long_list_is_paged_or_told_whole(shell: Shell) -> None:
    keys = [shell.ok("emit", "tick", f'{{"n": {number}}}')["key"] for number in range(5)]
    page = shell.run("query", "tick", "--tx-key", KEY, "--page-size", "2", "--page", "2")
    assert [json.loads(line)["key"] for line in page.out.splitlines()] == keys[2:4]
    assert "page 2 of 3, 5 rows; --all lists them all" in page.err
    assert shell.run("--quiet", "query", "tick", "--tx-key", KEY, "--page-size", "2").err == ""
    assert [row["key"] for row in shell.rows("query", "tick", "--tx-key", KEY, "--all")] == keys
    assert shell.rows("query", "tick", "--tx-key", KEY, "--since", "1h", "--all")[0]["key"] == keys[0]
    assert shell.rows("query", "tick", "--tx-key", KEY, "--since", "2099-01-01") == []
    shell.refused(2, "query", "tick", "--tx-key", KEY, "--since", "yesterday", says="'yesterday' is no moment")
