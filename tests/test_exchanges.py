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

from exchanges import Comparison, ExchangeFault, Mismatch, parse, play, recorded, run
from exchanges.templates import UnknownTemplate, expand

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bearer {{key}}", "Bearer tcs_live_1"),
        ('{"a":{"b":"{{channel}}"}}', '{"a":{"b":"C1"}}'),
        ("{{repeat:ab:3}}", "ababab"),
        ("{{repeat:{::2}}1{{repeat:}:2}}", "{:{:1}}"),
        ('{{repeat:{"a"::2}}', '{"a":{"a":'),
        ("{{repeat: :2}}{{repeat:x:0}}", "  "),
        ("{{now_s}} {{now_s+60}} {{now_s-301}}", "1700000000 1700000060 1699999699"),
        ("{{now_ms}} {{now_ms-1}}", "1700000000123 1700000000122"),
        (
            "{{rfc3339}} {{rfc3339+0}} {{rfc3339-60}}",
            "2023-11-14T22:13:20Z 2023-11-14T22:13:20Z 2023-11-14T22:12:20Z",
        ),
        ("{{", "{{"),
        ('{"a":{"b":{}}}', '{"a":{"b":{}}}'),
    ],
)
def test_a_template_is_filled_in(text: str, expected: str) -> None:
    assert expand(text, NAMES, NOW_MS) == expected


@pytest.mark.parametrize("text", ["{{nothing}}", "{{now_h}}", "{{repeat:x}}", "{{repeat:x:y}}", "{{now_s+}}"])
def test_an_unknown_template_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(UnknownTemplate, match="channel, key"):
        expand(text, NAMES, NOW_MS)


# -- comparing ---------------------------------------------------------------------------------------------

HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("", b"whatever"),
        ("<empty>", b""),
        ("404 page not found", b"404 page not found\n"),
        ("id: <hex32>, <re:[a-c]+>.", f"id: {HEX}, abc.".encode()),
        ("<re:a>+b>", b"a>b"),
        ("{}", b" { } "),
        ('{"a": 1, "b": [true, null]}', b'{"b":[true,null],"a":1}'),
        ('{"a": "<any>", "b": "<any>"}', b'{"a":null,"b":{"c":[]}}'),
        ('{"<*>": "<any>", "a": 1}', b'{"b":2,"a":1}'),
        ('["<int>", "<number>", "<number>", "<string>"]', b'[-1,2,2.5e3,""]'),
        ('["<hex32>", "<hex64>"]', f'["{HEX}","{HEX}{HEX}"]'.encode()),
        ('["<uuid>", "<evt>"]', f'["01234567-89ab-7def-8123-456789abcdef","evt_{HEX}"]'.encode()),
        ('["<time>", "<time>"]', b'["2026-05-26T12:00:00Z","2026-05-26T12:00:00.123+02:00"]'),
        ('"at <time> by <string>"', b'"at 2026-05-26T12:00:00Z by \\"me\\"\\n"'),
        ('"<re:[a-z]+\\\\.[0-9]+>"', b'"a.1"'),
        ('"1.5*(x)"', b'"1.5*(x)"'),
    ],
)
def test_what_is_as_expected_passes(expected: str, actual: bytes) -> None:
    comparison = Comparison()

    comparison.body(expected, actual)

    assert comparison.differences == []


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ("<empty>", b"x", 'body: expected "<empty>", got "x"'),
        ("text", b"other", 'body: expected "text", got "other"'),
        ("1.5", b"115", "$: expected 1.5, got 115"),
        ('"1.5"', b'"115"', '$: expected "1.5", got "115"'),
        ("{}", b"", "body: expected JSON, got something else"),
        ("{}", b'{"a":1,"a":1}', "two members of one name"),
        ("[1]", b"[NaN]", "NaN is not JSON"),
        ("{}", b"\xff", "body: expected JSON, got something else"),
        ("{}", b"\xff\xfe{\x00}\x00", "body: expected JSON, got something else"),
        ('{"a": {"b": 1}}', b'{"a":{"b":2}}', "$.a.b: expected 1, got 2"),
        ('{"a": 1}', b"{}", "$: 'a' is missing"),
        ('{"a": "<any>"}', b"{}", "$: 'a' is missing"),
        ("{}", b'{"a":"x"}', "$: 'a' is not expected; its value is \"x\""),
        ('{"a": 1, "<*>": "<any>"}', b'{"b":1}', "$: 'a' is missing"),
        ("[1, 2]", b"[1]", "$: expected 2 elements, got 1"),
        ("[1, 2]", b"[2, 2]", "$[0]: expected 1, got 2"),
        ("[1]", b"[true]", "$[0]: expected 1, got true"),
        ("[true]", b"[1]", "$[0]: expected true, got 1"),
        ("[null]", b"[false]", "$[0]: expected null, got false"),
        ("[]", b"{}", "$: expected [], got {}"),
        ('["<int>"]', b"[true]", '$[0]: expected "<int>", got true'),
        ('["<int>"]', b"[1.5]", '$[0]: expected "<int>", got 1.5'),
        ('["<int>"]', b'["1"]', '$[0]: expected "<int>", got "1"'),
        ('["<number>"]', b"[null]", '$[0]: expected "<number>", got null'),
        ('["<string>"]', b"[1]", '$[0]: expected "<string>", got 1'),
        ('["<hex32>"]', f'["{HEX.upper()}"]'.encode(), '$[0]: expected "<hex32>"'),
        ('["<hex32>"]', f'["{HEX}0"]'.encode(), '$[0]: expected "<hex32>"'),
        ('["<uuid>"]', f'["{HEX}"]'.encode(), '$[0]: expected "<uuid>"'),
        ('["<evt>"]', f'["{HEX}"]'.encode(), '$[0]: expected "<evt>"'),
        ('["<time>"]', b'["2026-05-26 12:00:00"]', '$[0]: expected "<time>"'),
        ('["<re:a+>"]', b'["aab"]', '$[0]: expected "<re:a+>"'),
        ('["v<int>"]', b'["v1x"]', '$[0]: expected "v<int>"'),
    ],
)
def test_what_is_otherwise_is_told_with_its_place(expected: str, actual: bytes, difference: str) -> None:
    comparison = Comparison()

    comparison.body(expected, actual)

    assert len(comparison.differences) == 1
    assert difference in comparison.differences[0]


def test_every_difference_is_told_and_long_values_are_cut() -> None:
    comparison = Comparison()

    comparison.body('{"a": 1, "b": 2, "c": 3}', b'{"a":2,"b":2,"c":"%s"}' % (b"x" * 1000))

    assert len(comparison.differences) == 2
    assert comparison.differences[1].endswith("(1002 characters)")


def test_placeholders_capture_what_they_stood_for() -> None:
    comparison = Comparison()

    comparison.body(
        '{"a": "<int:count>", "b": "evt_<hex32:id> at <time:at>", "c": "<any:list>", "d": "<any:text>"}',
        f'{{"a":7,"b":"evt_{HEX} at 2026-05-26T12:00:00Z","c":[1],"d":"x"}}'.encode(),
    )

    assert comparison.differences == []
    assert comparison.captured == {
        "count": "7",
        "id": HEX,
        "at": "2026-05-26T12:00:00Z",
        "list": "[1]",
        "text": "x",
    }


# -- playing -----------------------------------------------------------------------------------------------


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
