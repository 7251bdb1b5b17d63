"""What a handler gets, and what becomes of what it returns or raises, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from serving import Served, route, served
from tocsin.core.errors import NotAuthenticated, NotFound, Unavailable
from tocsin.web.http import Request, Response, json_response
from tocsin.web.server import ServerLimits
from wire import request, wire

LIMIT = 1000
CHUNKED = "Transfer-Encoding: chunked"


def chunks(body: bytes, size: int = 300) -> bytes:
    """Return a body in chunks."""
    parts = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


async def length(request: Request) -> Response:
    return json_response(200, len(request.body))


async def judging(request: Request) -> Response:
    if request.header(b"authorization") is None:
        raise NotAuthenticated("who asks?")
    request.refuse_encoded()
    return json_response(200, len(request.body))


async def unknown(_request: Request) -> Response:
    raise NotFound("there is no such thing")


async def unavailable(_request: Request) -> Response:
    raise Unavailable("come again", retry_after_s=1.2)


async def broken(_request: Request) -> Response:
    raise KeyError("a secret of the program")


async def gone(_request: Request) -> Response:
    return Response(status=204)


async def unchanged(_request: Request) -> Response:
    return Response(status=304, headers=[(b"etag", b'"1"')])


def mark(request: Request, response: Response) -> None:
    response.headers = [*response.headers, (b"x-finished", request.method.encode())]


ROUTES = (
    route("GET", "/echo"),
    route("POST", "/echo"),
    route("POST", "/first", length, body_limit_bytes=LIMIT),
    route("POST", "/late", length, body_limit_bytes=LIMIT, body_limit_first=False),
    route("POST", "/judging", judging, body_limit_bytes=LIMIT, body_limit_first=False),
    route("POST", "/unknown", unknown, finish=mark),
    route("GET", "/unavailable", unavailable, finish=mark),
    route("GET", "/broken", broken, finish=mark, name="broken"),
    route("GET", "/finished", finish=mark),
    route("DELETE", "/gone", gone),
    route("GET", "/unchanged", unchanged),
)


@pytest.fixture(name="running", scope="module")
def _running() -> Iterator[Served]:
    with served(*ROUTES) as running:
        yield running


# -- requests ----------------------------------------------------------------------------------------------


def test_a_request_tells_what_was_sent(running: Served) -> None:
    with wire(running.base_url) as client:
        client.send(request("POST", "/echo?b=1&a=%20&b=2", "X-Name:  a b ", "X-NAME: second", body=b"\xff\0"))
        told = client.reply().json
    assert (told["method"], told["path"], told["body"]) == ("POST", "/echo", "\u00ff\0")
    assert told["query"] == [["b", "1"], ["a", " "], ["b", "2"]]
    assert told["client"] == "127.0.0.1"


def test_of_several_headers_the_first_counts_and_of_several_parameters_the_last() -> None:
    scope = {"headers": [(b"x", b"1"), (b"y", b"\xe9"), (b"x", b"2")], "query_string": b"a=1&a=2&b"}
    request = Request(scope, b"")
    assert (request.header(b"x"), request.header(b"y"), request.header(b"z")) == ("1", "\u00e9", None)
    assert request.query == {"a": "2", "b": ""}


def test_nobody_known_asks_where_the_server_has_no_address() -> None:
    assert Request({"client": None}, b"").client == ""


# -- the body's bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/first", "/late"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("size", [0, 1, LIMIT - 1, LIMIT])
def test_a_body_up_to_the_limit_is_read_whole(running: Served, path: str, framing: str, size: int) -> None:
    body = b"x" * size
    with wire(running.base_url) as client:
        if framing == "chunks":
            client.send(request("POST", path, CHUNKED) + chunks(body))
        else:
            client.send(request("POST", path, body=body))
        assert client.reply().json == size


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("size", [LIMIT + 1, 2 * LIMIT, 3_000_000])
@pytest.mark.parametrize(("path", "status"), [("/first", 413), ("/late", 200)])
def test_a_longer_one_is_refused_or_cut_and_the_next_request_is_read_aright(
    running: Served, path: str, status: int, framing: str, size: int
) -> None:
    body = request("GET", "/broken") * (size // 40 + 1)
    body = body[:size]
    with wire(running.base_url) as client:
        if framing == "chunks":
            client.send(request("POST", path, CHUNKED) + chunks(body, 4000))
        else:
            client.send(request("POST", path, body=body))
        client.send(request("GET", "/echo"))
        answer = client.reply()
        assert answer.status == status
        assert answer.json == LIMIT + 1 or answer.json["code"] == "payload_too_large"
        assert client.reply().json["method"] == "GET"
    assert "broken" not in {each.dialect for each in running.answered}


def test_an_encoded_body_is_refused_whatever_it_would_become(running: Served) -> None:
    bomb = b"\x1f\x8b" + b"\0" * 300_000
    with wire(running.base_url) as client:
        client.send(request("POST", "/echo", "Content-Encoding: gzip", body=bomb))
        assert client.reply().status == 415
        client.send(request("POST", "/echo", "Content-Encoding: identity", body=b"plain"))
        assert client.reply().json["body"] == "plain"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        (["Content-Encoding: gzip"], 401),
        (["Authorization: x", "Content-Encoding: gzip"], 415),
        (["Authorization: x", "Content-Encoding: Identity "], 200),
        (["Authorization: x", "Content-Encoding: identity", "Content-Encoding: gzip"], 415),
        (["Authorization: x", "Content-Encoding:"], 415),
        (["Authorization: x"], 200),
    ],
)
def test_a_handler_that_judges_the_body_late_judges_its_encoding_there(
    running: Served, headers: list[str], status: int
) -> None:
    with wire(running.base_url) as client:
        client.send(request("POST", "/judging", *headers, body=b"{}") + request("GET", "/echo"))
        assert client.reply().status == status
        assert client.reply().status == 200


@pytest.mark.parametrize(
    ("refusal", "status"), [(["Content-Length: 5000"], 413), (["Content-Length: 9", "Content-Encoding: br"], 415)]
)
def test_who_asks_whether_to_send_a_body_is_refused_without_it(
    running: Served, refusal: list[str], status: int
) -> None:
    with wire(running.base_url) as client:
        client.send(request("POST", "/first", "Expect: 100-continue", *refusal))
        answer = client.reply()
        assert (answer.status, answer.ends_connection) == (status, True)
        assert client.is_closed()


def test_a_refused_body_that_does_not_end_ends_the_connection() -> None:
    limits = ServerLimits(body_deadline_s=0.3, shutdown_s=1.0, drain_s=0.05)
    with served(*ROUTES, limits=limits) as running, wire(running.base_url) as client:
        client.send(request("POST", "/first", "Content-Length: 5000") + b"x" * 4000)
        answer = client.reply()
        assert (answer.status, answer.ends_connection) == (413, True)
        assert client.is_closed()


@pytest.mark.parametrize("sent", [b"", b"{", b"{}" * 100], ids=["nothing", "a byte", "half"])
def test_a_body_that_breaks_off_reaches_no_handler(running: Served, sent: bytes) -> None:
    called = threading.Event()

    async def handler(_request: Request) -> Response:
        called.set()
        return json_response(200, None)

    with served(route("POST", "/act", handler)) as other:
        with wire(other.base_url) as client:
            client.send(request("POST", "/act", "Content-Length: 400") + sent)
        with wire(other.base_url) as client:
            client.send(request("GET", "/act"))
            assert client.reply().status == 405
        other.stop()
        other.wait_ended()
        assert not called.is_set()
        assert {each.status for each in other.answered} == {405, 408}


def test_all_bodies_together_have_a_bound_and_give_their_memory_back() -> None:
    limits = ServerLimits(bodies_bytes_max=1_000_000, shutdown_s=1.0, drain_s=0.05)
    half = 600_000
    gone = b"x" * half
    with served(route("POST", "/echo"), limits=limits) as running:
        with wire(running.base_url) as first, wire(running.base_url) as second:
            first.send(request("POST", "/echo", f"Content-Length: {half + 1}") + gone)
            second.send(request("POST", "/echo", "Expect: 100-continue", f"Content-Length: {half}"))
            assert second.reply().status == 100
            second.send(gone)
            answer = second.reply()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            first.send(b"x")
            assert first.reply().status == 200
        with wire(running.base_url) as client:
            for _ in range(4):
                client.send(request("POST", "/echo", body=gone))
                assert client.reply().status == 200


# -- answers -----------------------------------------------------------------------------------------------


def test_an_error_is_told_by_the_route_and_finished_like_any_answer(running: Served) -> None:
    with wire(running.base_url) as client:
        client.send(request("POST", "/unknown", body=b"{}"))
        answer = client.reply()
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert answer.headers["x-finished"] == "POST"


def test_a_fault_of_ours_tells_nothing_and_is_reported(running: Served) -> None:
    with wire(running.base_url) as client:
        client.send(request("GET", "/broken"))
        answer = client.reply()
        assert (answer.status, answer.json) == (500, {"code": "internal_error", "detail": "internal error"})
        assert answer.headers["x-finished"] == "GET"
        client.send(request("GET", "/echo"))
        assert client.reply().status == 200
    (report,) = (each for each in running.answered if each.dialect == "broken")
    assert isinstance(report.fault, KeyError)
    assert (report.route, report.status) == ("GET /broken", 500)


def test_what_passes_says_when_to_come_again_and_is_reported(running: Served) -> None:
    with wire(running.base_url) as client:
        client.send(request("GET", "/unavailable"))
        answer = client.reply()
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    report = running.answered[-1]
    assert (report.status, type(report.fault)) == (503, Unavailable)


def test_an_answer_is_finished_once(running: Served) -> None:
    with wire(running.base_url) as client:
        for _ in range(2):
            client.send(request("GET", "/finished"))
            answer = client.reply()
            assert answer.headers["x-finished"] == "GET"


def test_an_answer_that_has_no_body_has_no_length_and_the_next_one_follows(running: Served) -> None:
    with wire(running.base_url) as client:
        for method, path, status in (("DELETE", "/gone", 204), ("GET", "/unchanged", 304)):
            client.send(request(method, path))
            answer = client.reply()
            assert answer.status == status
            assert not answer.headers.keys() & {"content-length", "transfer-encoding"}
        client.send(request("GET", "/finished"))
        assert client.reply().status == 200


def test_an_answer_has_its_length_and_json_is_compact() -> None:
    response = json_response(201, {"a": [1, None]}, [(b"x", b"y")])
    assert (response.status, response.body) == (201, b'{"a":[1,null]}')
    assert response.headers == [(b"content-type", b"application/json"), (b"x", b"y")]
