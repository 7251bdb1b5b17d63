"""The runner of recorded exchanges itself: a runner that lets a wrong answer pass would hide every other fault."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from exchanges import ExchangeFault, Mismatch, parse, play, recorded, run
from exchanges.sending import Answer

NAMES = {"key": "tcs_live_1", "channel": "C1"}
NOW_MS = 1_700_000_000_123


class Echo(BaseHTTPRequestHandler):
    """Answers ``/status/<code>`` with what was asked, as JSON; ``/text`` with the body itself."""

    protocol_version = "HTTP/1.1"
    seen = 0

    def handle_any(self) -> None:
        Echo.seen += 1
        body = self._body()
        code = int(self.path.split("?")[0].removeprefix("/status/") if self.path.startswith("/status/") else 200)
        if not self.path.startswith("/text"):
            members = {
                "method": self.command,
                "path": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "body": body.decode("utf-8", "backslashreplace"),
                "seen": Echo.seen,
            }
            body = json.dumps(members).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Many", "one")
        self.send_header("X-Many", "two")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  the base class wants these names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@dataclass
class EchoGateway:
    """The echo server as a gateway, which remembers what it was asked for."""

    base_url: str
    receiver_url: str = "http://127.0.0.1:9"
    plans: list[str | None] = field(default_factory=list)

    def new_organisation(self, plan: str | None = None) -> dict[str, str]:
        self.plans.append(plan)
        return dict(NAMES)

    def differences(
        self, method: str, target: str, headers: list[tuple[str, str]], body: bytes, answer: Answer
    ) -> list[str]:
        return [f"{method} is undescribed"] if "undescribed" in target else []


@pytest.fixture(name="echo")
def _echo() -> Iterator[EchoGateway]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Echo.seen = 0
    yield EchoGateway(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Path:
    return tmp_path / "some.http"


def played(path: Path, text: str, gateway: EchoGateway) -> None:
    path.write_text(text, encoding="utf-8")
    run(parse(path), gateway)


# -- parsing -----------------------------------------------------------------------------------------------


def test_a_file_is_read_into_its_parts(written: Path) -> None:
    written.write_text(
        "# A comment.\n# @until is explained here.\n# @plan free\n@settings A=1 B='two words'\n\n"
        "### The title\n# why\n@until\n@sign {{secret}} {{now_s-301}}\n\nPOST /e/x?q=1\nX-Odd:  two  spaces \n"
        "Empty:\n\n\n{\n\n}\n\n--- 202\nX-A: b\n\n\n{}\n\n### Another\nGET /\n--- 204\n",
        encoding="utf-8",
    )

    found = parse(written)

    assert found.plan == "free"
    assert found.settings == {"A": "1", "B": "two words"}
    first, second = found.exchanges
    assert (first.title, first.line, first.method, first.target) == ("The title", 6, "POST", "/e/x?q=1")
    assert first.headers == (("X-Odd", "two  spaces"), ("Empty", ""))
    assert first.body == "{\n\n}"
    assert first.until
    assert first.signature is not None
    assert (first.signature.secret, first.signature.timestamp) == ("{{secret}}", "{{now_s-301}}")
    assert (first.expected_status, first.expected_headers, first.expected_body) == (202, (("X-A", "b"),), "{}")
    assert (second.body, second.expected_status, second.expected_body, second.until) == ("", 204, "", False)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "holds no exchange"),
        ("# only a comment\n", 1, "holds no exchange"),
        ("stray\n### T\nGET /\n--- 200\n", 1, "no comment"),
        ("@plans free\n### T\nGET /\n--- 200\n", 1, "unknown directive"),
        ("@settings A\n### T\nGET /\n--- 200\n", 1, "unknown directive"),
        ("###\nGET /\n--- 200\n", 1, "needs a title"),
        ("### T\n@never\nGET /\n--- 200\n", 2, "unknown directive"),
        ("### T\n@sign\nGET /\n--- 200\n", 2, "unknown directive"),
        ("### T\nGET here\n--- 200\n", 2, "request line"),
        ("### T\nGET /\n{}\n--- 200\n", 3, "expected a header"),
        ("### T\nGET /\n", 3, "expected an answer"),
        ("### T\nGET /\n--- 200\n\n{}\n\n--- 201\n", 7, "second answer"),
        ("### T\n@raw-body 00\nPOST /\n\nx\n\n--- 200\n", 8, "not both"),
    ],
)
def test_a_faulty_file_is_told_with_its_line(written: Path, text: str, line: int, reason: str) -> None:
    written.write_text(text, encoding="utf-8")

    with pytest.raises(ExchangeFault, match=reason) as fault:
        parse(written)

    assert str(fault.value).startswith(f"{written}:{line}: ")


def test_a_directory_without_a_file_fails_instead_of_passing_unseen(tmp_path: Path, echo: EchoGateway) -> None:
    (parameter,) = recorded(str(tmp_path / "test_exchanges.py")).args[1]

    with pytest.raises(ExchangeFault, match="no \\*\\.http file"):
        play(parameter.values[0], echo, _no_gateway)


def test_each_file_is_a_test_named_after_it(tmp_path: Path) -> None:
    for name in ("b.http", "a.http", "c.txt"):
        (tmp_path / name).touch()

    mark = recorded(str(tmp_path / "test_exchanges.py"))

    assert [parameter.id for parameter in mark.args[1]] == ["a", "b"]


# -- templates ---------------------------------------------------------------------------------------------


def test_a_request_goes_out_as_written_and_nothing_else(written: Path, echo: EchoGateway) -> None:
    played(
        written,
        "@plan pro\n### T\nPOST /any?a=%20\nX-Key: {{key}}\nX-Utf: é\n\nline 1\n\nline {{repeat:x:3}}\n\n"
        '--- 200\nX-Many: one, <string:second>\n\n{"method": "POST", "path": "/any?a=%20", '
        '"headers": {"host": "<any>", "x-key": "tcs_live_1", "x-utf": "Ã©", "content-length": "16"}, '
        '"body": "line 1\\n\\nline xxx", "seen": 1}\n\n'
        '### The next one uses what was captured\nGET /?{{second}}\n--- 200\n\n{"path": "/?two", "body": "", '
        '"method": "GET", "headers": {"host": "<any>"}, "seen": 2}\n',
        echo,
    )

    assert echo.plans == ["pro"]


def test_a_header_of_the_file_replaces_the_runner_s_own(written: Path, echo: EchoGateway) -> None:
    played(
        written,
        '### T\nPOST /\nHost: evil\nContent-Length: 2\n\nab\n\n--- 200\n\n{"headers": {"host": "evil", '
        '"content-length": "2"}, "<*>": "<any>"}\n'
        '### Chunked\nPOST /\nTransfer-Encoding: chunked\n\nab\n\n--- 200\n\n{"body": "ab", "headers": '
        '{"host": "<any>", "transfer-encoding": "chunked"}, "<*>": "<any>"}\n'
        "### Chunked and empty\nPOST /text\nTransfer-Encoding: chunked\n\n--- 200\n\n<empty>\n",
        echo,
    )


def test_a_body_may_be_raw_bytes(written: Path, echo: EchoGateway) -> None:
    played(
        written,
        '### T\n@raw-body 7b ff {{repeat:00:2}} 7d\nPOST /\n\n--- 200\n\n{"body": "{\\\\xff\\u0000\\u0000}", '
        '"headers": {"content-length": "5", "host": "<any>"}, "<*>": "<any>"}\n',
        echo,
    )


def test_a_body_is_signed_as_promptjang_wants_it(written: Path, echo: EchoGateway) -> None:
    signature = hmac.new(b"whsec_tcs_live_1", b"1700000000.{}", hashlib.sha256).hexdigest()

    played(
        written,
        f'### T\n@sign whsec_{{{{key}}}} 1700000000\nPOST /\n\n{{}}\n\n--- 200\n\n{{"headers": {{"x-pj-signature": '
        f'"{signature}", "x-pj-timestamp": "1700000000", "<*>": "<any>"}}, "<*>": "<any>"}}\n'
        '### By default the time is now\n@sign s\nPOST /\n\n--- 200\n\n{"headers": {"x-pj-timestamp": "{{now_s}}", '
        '"<*>": "<any>"}, "<*>": "<any>"}\n',
        echo,
    )


def test_a_mismatch_names_the_exchange_its_differences_and_the_answer(written: Path, echo: EchoGateway) -> None:
    with pytest.raises(Mismatch) as mismatch:
        played(
            written,
            "# comment\n\n### First\nGET /\n--- 200\n\n### Second\nPOST /status/409\n\n"
            '{"a": 1}\n\n--- 200\nX-None: a\nX-Many: three\n\n{"method": "GET", "<*>": "<any>"}\n',
            echo,
        )

    lines = str(mismatch.value).split("\n")
    assert lines[:7] == [
        f"{written}:7: Second",
        "  POST /status/409",
        "  - status: expected 200, got 409",
        "  - header x-none: expected 'a', there is none",
        '  - header x-many: expected "three", got "one, two"',
        '  - $.method: expected "GET", got "POST"',
        "  the answer: 409",
    ]
    assert '{\\"a\\": 1}' in lines[-1]


def test_no_answer_at_all_is_a_mismatch(written: Path, echo: EchoGateway) -> None:
    nobody = EchoGateway("http://127.0.0.1:1")

    with pytest.raises(Mismatch, match="no answer: ConnectionRefusedError"):
        played(written, "### T\nGET /\n--- 200\n", nobody)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("### T\nGET /{{nothing}}\n--- 200\n", "{{nothing}} is not known here"),
        ("### T\n@raw-body 0\nPOST /\n--- 200\n", "hexadecimal"),
        ("### T\nGET /é\n--- 200\n", "can't encode"),
        ("### T\nGET /\n--- 200\n\n<re:(>\n", "missing \\)"),
    ],
)
def test_an_exchange_that_cannot_be_played_is_a_fault_of_its_file(
    written: Path, echo: EchoGateway, text: str, reason: str
) -> None:
    with pytest.raises(ExchangeFault, match=reason) as fault:
        played(written, text, echo)

    assert str(fault.value).startswith(f"{written}:1: T: ")


def test_until_repeats_an_exchange_until_it_is_as_expected(written: Path, echo: EchoGateway) -> None:
    played(written, '### T\n@until\nGET /\n--- 200\n\n{"seen": 4, "<*>": "<any>"}\n', echo)

    assert Echo.seen == 4


def test_an_answer_that_is_not_described_is_a_mismatch(written: Path, echo: EchoGateway) -> None:
    with pytest.raises(Mismatch, match="GET is undescribed"):
        played(written, "### Right, and not described\nGET /status/200?undescribed\n\n--- 200\n", echo)


def test_until_gives_up(written: Path, echo: EchoGateway) -> None:
    written.write_text("### T\n@until\nGET /\n--- 201\n", encoding="utf-8")
    started_s = time.monotonic()

    with pytest.raises(Mismatch, match="expected 201, got 200"):
        run(parse(written), echo, until_s=0.2)

    assert time.monotonic() - started_s < 5
    assert Echo.seen > 1


def test_without_until_one_answer_decides(written: Path, echo: EchoGateway) -> None:
    with pytest.raises(Mismatch):
        played(written, '### T\nGET /\n--- 200\n\n{"seen": 2, "<*>": "<any>"}\n', echo)

    assert Echo.seen == 1


def test_a_file_with_settings_is_played_on_a_gateway_of_its_own(written: Path, echo: EchoGateway) -> None:
    written.write_text("@settings TOCSIN_X=1\n### T\nGET /\n--- 200\n", encoding="utf-8")
    asked: list[dict[str, str]] = []

    @contextmanager
    def gateway_with(settings: dict[str, str]) -> Iterator[EchoGateway]:
        asked.append(settings)
        yield echo

    play(written, EchoGateway("http://127.0.0.1:1"), gateway_with)

    assert asked == [{"TOCSIN_X": "1"}]


def test_a_file_without_settings_is_played_on_the_shared_gateway(written: Path, echo: EchoGateway) -> None:
    written.write_text("### T\nGET /\n--- 200\n", encoding="utf-8")

    play(written, echo, _no_gateway)

    assert echo.plans == [None]


def _no_gateway(settings: dict[str, str]) -> AbstractContextManager[EchoGateway]:
    raise AssertionError("no gateway of its own is needed")
