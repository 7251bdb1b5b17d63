"""The HTTP server on real sockets: what it takes for a request, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar

import pytest

from serving import Gate, Served, route, served
from tocsin.web.http import Request, Response, json_response
from wire import request, wire


@pytest.fixture(name="echoing", scope="module")
def _echoing() -> Iterator[Served]:
    with served(route("GET", "/echo"), route("POST", "/echo")) as running:
        yield running


# -- what is a request -------------------------------------------------------------------------------------


def head(*lines: str, target: str = "/echo", method: str = "POST", version: str = "1.1") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/{version}", *lines, "", ""]).encode("latin-1")


CHUNKED = "Transfer-Encoding: chunked"
MALFORMED = {
    "two lengths": head("Host: a", "Content-Length: 2", "Content-Length: 3") + b"{}",
    "the same length twice": head("Host: a", "Content-Length: 2", "Content-Length: 2") + b"{}",
    "a list of lengths": head("Host: a", "Content-Length: 2, 2") + b"{}",
    "a length and chunks": head("Host: a", "Content-Length: 2", CHUNKED) + b"0\r\n\r\n",
    "chunks and a length": head("Host: a", CHUNKED, "Content-Length: 2") + b"0\r\n\r\n",
    "chunked twice": head("Host: a", CHUNKED, CHUNKED) + b"0\r\n\r\n",
    "chunked before another coding": head("Host: a", "Transfer-Encoding: chunked, gzip") + b"0\r\n\r\n",
    "a space before the colon": head("Host: a", "Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "a length with a sign": head("Host: a", "Content-Length: +2") + b"{}",
    "a negative length": head("Host: a", "Content-Length: -2") + b"{}",
    "a length in hex": head("Host: a", "Content-Length: 0x2") + b"{}",
    "no length": head("Host: a", "Content-Length: ") + b"{}",
    "a length with an underscore": head("Host: a", "Content-Length: 1_0") + b"{}",
    "a length beyond 64 bits": head("Host: a", "Content-Length: 99999999999999999999") + b"{}",
    "a folded header": head("Host: a", "X-A: b", " c"),
    "a folded first header": head(" Host: a"),
    "line feeds alone": b"GET /echo HTTP/1.1\nHost: a\n\n",
    "one line feed alone": b"GET /echo HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "a line feed at the end": b"GET /echo HTTP/1.1\r\nHost: a\r\n\n",
    "a carriage return alone": b"GET /echo HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a header": head("Host: a\0b"),
    "NUL in the path": head("Host: a", target="/ec\0ho"),
    "a path that is not ASCII": head("Host: a", target="/\u00e9cho"),
    "no host": head(),
    "two hosts": head("Host: a", "Host: b"),
    "an unknown method": head("Host: a", method="STEAL"),
    "a method in lower case": head("Host: a", method="get"),
    "an unknown version": head("Host: a", version="1.2"),
    "an absolute target without a path": head("Host: a", target="http://a"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a chunk size that is none": head("Host: a", CHUNKED) + b"zz\r\n{}\r\n0\r\n\r\n",
    "a negative chunk size": head("Host: a", CHUNKED) + b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a prefix": head("Host: a", CHUNKED) + b"0x2\r\n{}\r\n0\r\n\r\n",
    "line feeds around a chunk": head("Host: a", CHUNKED) + b"2\n{}\n0\n\n",
    "a chunk longer than its size": head("Host: a", CHUNKED) + b"2\r\n{}0\r\n\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_two_servers_might_read_differently_is_refused(echoing: Served, sent: bytes) -> None:
    before = len([each for each in echoing.answered if each.status == 200])
    with wire(echoing.base_url) as client:
        client.send(sent + request("GET", "/echo?smuggled"))
        refused = client.reply()
        assert (refused.status, refused.body, refused.ends_connection) == (400, b"", True)
        assert client.is_closed()
    assert len([each for each in echoing.answered if each.status == 200]) == before


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("Host: a", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
        (head("Host: a", "Transfer-Encoding: gzip") + b"0\r\n\r\n", 501),
        (head("Host: a", "Transfer-Encoding: identity") + b"0\r\n\r\n", 501),
        (head("Host: a", "Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
        (head("Host: a", target="a:443", method="CONNECT"), 501),
        (head("Host: a", version="2.0"), 505),
        (b"GET /echo\r\n\r\n", 505),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_the_server_does_not_do_is_told_apart(echoing: Served, sent: bytes, status: int) -> None:
    with wire(echoing.base_url) as client:
        client.send(sent)
        assert client.reply().status == status
        assert client.is_closed()


def test_http_1_0_needs_no_host_and_ends_the_connection(echoing: Served) -> None:
    with wire(echoing.base_url) as client:
        client.send(head("Connection: keep-alive", method="GET", version="1.0"))
        answer = client.reply()
        assert (answer.status, answer.ends_connection) == (200, True)
        assert client.is_closed()


def test_head_is_get_without_a_body(echoing: Served) -> None:
    with wire(echoing.base_url) as client:
        client.send(request("HEAD", "/echo") + request("GET", "/echo"))
        bare = client.reply(has_body=False)
        assert bare.status == 200
        assert int(bare.headers["content-length"]) > 0
        assert client.reply().json["method"] == "GET"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://elsewhere/echo?a=1", "/echo", [["a", "1"]]),
        ("/echo?a=%C3%A9&b&a=", "/echo", [["a", "\u00e9"], ["b", ""], ["a", ""]]),
        ("/ech%6F", "/echo", []),
        ("/echo#part", "/echo", []),
        ("/echo?%zz=%ff", "/echo", [["%zz", "\ufffd"]]),
    ],
)
def test_a_target_is_read_whatever_its_form(echoing: Served, target: str, path: str, query: list[list[str]]) -> None:
    with wire(echoing.base_url) as client:
        client.send(request("GET", target))
        told = client.reply().json
        assert (told["path"], told["query"]) == (path, query)


def test_requests_sent_in_one_go_are_answered_in_order(echoing: Served) -> None:
    with wire(echoing.base_url) as client:
        client.send(b"\r\n" + b"".join(request("POST", "/echo", body=b"%d" % number) for number in range(50)))
        assert [client.reply().json["body"] for _ in range(50)] == [str(number) for number in range(50)]


_WORD: ContextVar[str] = ContextVar("word", default="none")


async def leave_word(_request: Request) -> Response:
    _WORD.set("left behind")
    return json_response(200, _WORD.get())


async def find_word(_request: Request) -> Response:
    return json_response(200, _WORD.get())


def test_a_request_that_waited_behind_another_inherits_nothing_of_it() -> None:
    with (
        served(route("POST", "/word", leave_word), route("GET", "/word", find_word)) as running,
        wire(running.base_url) as client,
    ):
        client.send(request("POST", "/word") + request("GET", "/word"))
        assert [client.reply().json for _ in range(2)] == ["left behind", "none"]


def test_a_chunked_body_is_put_together_and_its_trailers_are_no_headers(echoing: Served) -> None:
    with wire(echoing.base_url) as client:
        client.send(request("POST", "/echo", CHUNKED))
        client.send(b"3;name=value\r\nabc\r\n")
        client.send(b"3\r\ndef\r\n0\r\nAuthorization: Bearer smuggled\r\n\r\n" + request("GET", "/echo"))
        told = client.reply().json
        assert told["body"] == "abcdef"
        assert "authorization" not in told["headers"]
        assert client.reply().status == 200


def test_a_body_is_asked_for_where_the_client_waits_for_that(echoing: Served) -> None:
    with wire(echoing.base_url) as client:
        client.send(request("POST", "/echo", "Expect: 100-continue", "Content-Length: 2"))
        assert client.reply().status == 100
        client.send(b"{}")
        assert client.reply().json["body"] == "{}"


@pytest.mark.parametrize("apart", [False, True], ids=["at once", "apart"])
@pytest.mark.parametrize("framing", ["Content-Length: 2", CHUNKED])
def test_an_offer_of_another_protocol_is_passed_over_and_loses_nothing(
    echoing: Served, framing: str, apart: bool
) -> None:
    body = b"{}" if framing.startswith("Content") else b"2\r\n{}\r\n0\r\n\r\n"
    offer = request("POST", "/echo", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "X-A: b", framing)
    parts = [offer, body, request("GET", "/echo", "Connection: Upgrade", "Upgrade: websocket")]
    with wire(echoing.base_url) as client:
        for part in parts if apart else [b"".join(parts)]:
            client.send(part)
        told = client.reply().json
        assert (told["body"], told["headers"]["x-a"]) == ("{}", "b")
        assert client.reply().json["method"] == "GET"


def test_a_bad_request_behind_a_good_one_does_not_take_its_answer() -> None:
    gate = Gate()
    with served(route("GET", "/gate", gate)) as running, wire(running.base_url) as client:
        client.send(request("GET", "/gate") + b"STEAL / HTTP/1.1\r\n\r\n")
        assert gate.entered.wait(10)
        gate.open()
        answer = client.reply()
        assert (answer.json, answer.ends_connection) == ("late", True)
        assert client.is_closed()
