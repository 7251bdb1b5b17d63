"""Logs: one line an event, secrets masked wherever they stand, libraries too, and nothing that moves a cursor."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from program import DEADLINE_S, environment
from tocsin.cli.gateway.logs import MASK, mask_secrets

KEY = "tcs_live_" + "0123456789abcdef" * 4
SIGNING = "whsec_" + "QUJD" * 10 + "="
TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOiJ0b2NzaW4ifQ.c2lnbmF0dXJl_-x"
SECRETS = {
    "an API key": (KEY, f"no key {KEY} here", "no key tcs_live_*** here"),
    "a test key": (KEY.replace("live", "test"), KEY.replace("live", "test"), "tcs_test_***"),
    "a signing secret": (SIGNING, f"'{SIGNING}'", "'whsec_***'"),
    "a bearer": ("sesame", "Authorization: Bearer sesame", "Authorization: Bearer ***"),
    "a small bearer": ("sesame", "bearer sesame", "bearer ***"),
    "a password": ("c2VzYW1l", "Basic c2VzYW1l", "Basic ***"),
    "a token": (TOKEN, f"token={TOKEN};", "token=eyJ***;"),
    "Telegram's": ("12345:AA-b_c", "POST https://api/bot12345:AA-b_c/send", "POST https://api/bot***/send"),
    "Discord's": ("se-sa_me", "https://d/api/webhooks/123/se-sa_me failed", "https://d/api/webhooks/123/*** failed"),
    "a URL's": ("user:sesame", "https://user:sesame@example.com/", "https://***@example.com/"),
    "a URL's with an @ in it": ("p@sse@me", "https://user:p@sse@me@example.com/x", "https://***@example.com/x"),
    "the second URL's": (
        "a@b",
        "from https://x.org/a to smtp://u:a@b@mail",
        "from https://x.org/a to smtp://***@mail",
    ),
    "a hash": ("m=1$c2FsdA$aGFzaA", "$argon2id$v=19$m=1$c2FsdA$aGFzaA", "$argon2id$***"),
}


@pytest.mark.parametrize(("secret", "text", "masked"), SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_known_by_its_form_wherever_it_stands(secret: str, text: str, masked: str) -> None:
    event = {"event": "x", "error": text, "deep": {"list": [text, (text,)], "number": 7}, "none": None}
    told = mask_secrets(None, "info", dict(event))
    assert told == {
        "event": "x",
        "error": masked,
        "deep": {"list": [masked, [masked]], "number": 7},
        "none": None,
    }
    assert secret not in json.dumps(told)


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "secret", "Authorization", "x-api-key", "api_key", "cookie", "token", "passwd"],
)
def test_a_secret_is_known_by_the_name_of_its_field(name: str) -> None:
    assert mask_secrets(None, "info", {name: "sesame", "a": {name: ["sesame"]}}) == {name: MASK, "a": {name: MASK}}


@pytest.mark.parametrize(
    "text",
    ["a basic rule", "/robots.txt", "https://example.com/@me", "tcs_live_short", "eyJ", "bot 7: x"],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_secrets(None, "info", {"error": text}) == {"error": text}


SCRIPT = f"""
import logging, sys
import structlog
from tocsin.cli.gateway.logs import configure_logs

configure_logs(sys.argv[2], sys.argv[1])
log = structlog.get_logger("tocsin")
log.debug("a_debug")
log.info("an_info", path="/a\\x1b[2J\\r\\x9b", key="{KEY}")
try:
    raise ValueError("Bearer sesame at {KEY}")
except ValueError as error:
    log.error("a_fault", exc_info=error)
    logging.getLogger("asyncio").error("a library's %s", "{KEY}", exc_info=True)
logging.getLogger("asyncio").info("less than a warning")
"""


def logged(form: str, level: str = "debug") -> str:
    """Return what a program writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, form, level],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
        env=environment(),
    )
    assert done.stdout == ""
    assert KEY not in done.stderr
    assert "sesame at" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("form", ["json", "auto"])
def test_machines_get_one_object_a_line(form: str) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in logged(form).splitlines()]
    assert [line["event"] for line in lines] == ["a_debug", "an_info", "a_fault", "library_log"]
    assert [line["level"] for line in lines] == ["debug", "info", "error", "error"]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[1]["path"] == "/a\x1b[2J\r\x9b"
    assert "ValueError: Bearer ***" in lines[2]["exception"]
    assert (lines[3]["library"], lines[3]["message"]) == ("asyncio", "a library's tcs_live_***")
    assert "ValueError" in lines[3]["exception"]


def test_people_get_text_that_moves_no_cursor() -> None:
    text = logged("text")
    assert not set(text) & {"\x1b", "\r", "\x9b"}
    for word in ("a_debug", "an_info", "a_fault", "library_log", "tcs_live_***", "ValueError: Bearer ***"):
        assert word in text


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("info", ["an_info", "a_fault", "library_log"]),
        ("warning", ["a_fault", "library_log"]),
        ("error", ["a_fault", "library_log"]),
    ],
)
def test_less_than_the_level_is_not_shown(level: str, events: list[str]) -> None:
    assert [json.loads(line)["event"] for line in logged("json", level).splitlines()] == events
