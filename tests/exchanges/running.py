"""Playing a file of exchanges against a gateway, and telling what was answered otherwise."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import pytest

from exchanges.matching import Comparison
from exchanges.model import Exchange, ExchangeFault, ExchangeFile, Gateway, Mismatch
from exchanges.parsing import parse
from exchanges.sending import Answer, send
from exchanges.templates import expand

UNTIL_DEADLINE_S = 30.0
"""How long an exchange with ``@until`` is repeated unless told otherwise."""

UNTIL_PAUSE_S = 0.05
"""How long it rests in between."""

_BODY_SHOWN_MAX = 4000

GatewayWith = Callable[[dict[str, str]], AbstractContextManager[Gateway]]
"""Starts a gateway of its own with these settings."""


def recorded(test_module: str) -> pytest.MarkDecorator:
    """Return what parametrises a test's ``path`` over the ``*.http`` files beside a module.

    Without any such file the test gets the directory, and fails.

    Args:
        test_module: the module's ``__file__``.
    """
    directory = Path(test_module).parent
    paths = sorted(directory.glob("*.http")) or [directory]
    return pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in paths])


def play(path: Path, gateway: Gateway, gateway_with: GatewayWith) -> None:
    """Play one file, on a gateway of its own where the file has ``@settings``.

    Raises:
        ExchangeFault: the file is wrong.
        Mismatch: the gateway answered otherwise.
    """
    exchange_file = parse(path)
    if not exchange_file.settings:
        run(exchange_file, gateway)
        return
    with gateway_with(exchange_file.settings) as own:
        run(exchange_file, own)


def run(exchange_file: ExchangeFile, gateway: Gateway, *, until_s: float = UNTIL_DEADLINE_S) -> None:
    """Play the exchanges in order, in a new organisation; what one captures the later ones may use.

    Args:
        until_s: how long an exchange with ``@until`` is repeated.

    Raises:
        ExchangeFault: a template is unknown, or a request cannot be sent.
        Mismatch: an answer is otherwise than recorded.
    """
    names = {
        **gateway.new_organisation(exchange_file.plan),
        "receiver": gateway.receiver_url,
        "base": gateway.base_url,
    }
    for exchange in exchange_file.exchanges:
        deadline_s = time.monotonic() + (until_s if exchange.until else 0.0)
        try:
            outcome = _attempt(exchange, gateway, names)
            while outcome.differences and time.monotonic() < deadline_s:
                time.sleep(UNTIL_PAUSE_S)
                outcome = _attempt(exchange, gateway, names)
        except (ValueError, re.error) as error:
            raise ExchangeFault(exchange_file.path, exchange.line, f"{exchange.title}: {error}") from error
        if outcome.differences:
            raise Mismatch(_report(exchange_file.path, exchange, outcome))
        names.update(outcome.captured)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one try of an exchange came to; without an answer there is a difference that says so."""

    differences: list[str]
    captured: dict[str, str]
    answer: Answer | None


def _attempt(exchange: Exchange, gateway: Gateway, names: Mapping[str, str]) -> _Outcome:
    now_ms = time.time_ns() // 1_000_000

    def filled(text: str) -> str:
        return expand(text, names, now_ms)

    body = filled(exchange.body).encode()
    if exchange.raw_body is not None:
        body = bytes.fromhex(filled(exchange.raw_body))
    headers = [(name, filled(value)) for name, value in exchange.headers]
    if exchange.signature is not None:
        timestamp = filled(exchange.signature.timestamp)
        signed = timestamp.encode() + b"." + body
        digest = hmac.new(filled(exchange.signature.secret).encode(), signed, hashlib.sha256)
        headers += [("X-PJ-Signature", digest.hexdigest()), ("X-PJ-Timestamp", timestamp)]
    expected_headers = [(name.lower(), filled(value)) for name, value in exchange.expected_headers]
    expected_body = filled(exchange.expected_body)
    try:
        target = filled(exchange.target)
        answer = send(gateway.base_url, exchange.method, target, headers, body)
    except (OSError, HTTPException) as error:
        return _Outcome([f"no answer: {type(error).__name__}: {error}"], {}, None)
    comparison = Comparison()
    if answer.status != exchange.expected_status:
        comparison.differences.append(f"status: expected {exchange.expected_status}, got {answer.status}")
    for name, expected in expected_headers:
        if name in answer.headers:
            comparison.text(f"header {name}", expected, answer.headers[name])
        else:
            comparison.differences.append(f"header {name}: expected {expected!r}, there is none")
    comparison.body(expected_body, answer.body)
    comparison.differences += gateway.differences(exchange.method, target, headers, body, answer)
    return _Outcome(comparison.differences, comparison.captured, answer)


def _report(path: Path, exchange: Exchange, outcome: _Outcome) -> str:
    lines = [f"{path}:{exchange.line}: {exchange.title}", f"  {exchange.method} {exchange.target}"]
    lines += [f"  - {difference}" for difference in outcome.differences]
    if outcome.answer is not None:
        lines.append(f"  the answer: {outcome.answer.status}")
        lines += [f"    {name}: {value}" for name, value in outcome.answer.headers.items()]
        text = outcome.answer.body.decode("utf-8", "backslashreplace")
        shown = text if len(text) <= _BODY_SHOWN_MAX else f"{text[:_BODY_SHOWN_MAX]}... ({len(text)} characters)"
        lines += [f"    {line}" for line in ["", *shown.splitlines()]]
    return "\n".join(lines)
