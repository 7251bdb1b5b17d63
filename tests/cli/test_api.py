"""The commands' HTTP client, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway import Gateway
from program import DEADLINE_S
from tenants import tenant_of
from tocsin.cli.client.api import Api, segment
from tocsin.cli.exits import FAILED, NOT_FOUND, UNREACHABLE, USAGE
from tocsin.cli.faults import Failure

pytestmark = pytest.mark.acceptance

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def server(*connections: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Answer the n-th connection's requests with these bytes, then end it; yield the URL and the requests' heads."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_S)

        def serve() -> None:
            for answers in connections:
                connection, _ = listening.accept()
                with connection:
                    for answer in answers:
                        heads.append(connection.recv(65_536))
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", heads
        finally:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()


def test_one_connection_serves_many_requests(gateway: Gateway) -> None:
    tenant = tenant_of(gateway)
    with Api(gateway.base_url, tenant.key) as api:
        api.get("/api/v1/orgs")
        first = api._connection.sock
        assert api.get("/api/v1/orgs")["id"].startswith("org_")
        assert api._connection.sock is first
        with pytest.raises(Failure) as raised:
            api.get("/api/v1/endpoints/" + segment("a/b?c"))
        assert raised.value.status == NOT_FOUND


def test_a_kept_connection_that_was_ended_is_made_anew_without_a_repeat() -> None:
    with server([OK], [OK]) as (url, heads), Api(url, None) as api:
        assert api.post("/one", {}) == {}
        sock = api._connection.sock
        assert sock is not None
        assert sock.recv(1, socket.MSG_PEEK) == b"", "the other side has ended it"
        assert api.post("/two", {}) == {}
    assert [head.split(b" ")[1] for head in heads] == [b"/one", b"/two"]


def test_a_base_path_a_query_and_the_key_are_sent() -> None:
    with server([OK]) as (url, heads), Api(f"{url}/behind/", "tcs_live_x") as api:
        api.get("/api", {"a": "x y", "none": None, "many": [1, 2]})
    assert heads[0].startswith(b"GET /behind/api?a=x+y&many=1&many=2 HTTP/1.1\r\n")
    assert b"Authorization: Bearer tcs_live_x\r\n" in heads[0]


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        (b"", UNREACHABLE, "is the address right?"),
        (b"no http at all\r\n\r\n", UNREACHABLE, "is the address right?"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", UNREACHABLE, "is the address right?"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", FAILED, "is not JSON"),
    ],
)
def test_an_answer_that_is_none_is_told(answer: bytes, status: int, says: str) -> None:
    with server([answer]) as (url, _), Api(url, None) as api, pytest.raises(Failure) as raised:
        api.get("/")
    assert raised.value.status == status
    assert says in raised.value.message


def test_silence_ends_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Api(url, None, timeout_s=0.05) as api, pytest.raises(Failure) as raised:
            api.get("/")
    assert raised.value.status == UNREACHABLE
    assert "no answer in time" in raised.value.message


def test_a_stream_is_read_line_by_line_as_it_comes() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"c\r\nid: 1\ndata: \r\n4\r\na\r\n\n\r\n5\r\n: hm\n\r\n0\r\n\r\n"
    with server([head + body]) as (url, _), Api(url, None) as api:
        assert list(api.lines("/stream")) == ["id: 1", "data: a", "", ": hm"]


def test_a_stream_that_is_refused_or_breaks_is_a_failure(gateway: Gateway) -> None:
    with Api(gateway.base_url, "tcs_live_wrong") as api, pytest.raises(Failure) as raised:
        next(api.lines("/api/v1/orgs"))
    assert "(401)" in raised.value.message
    cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nid: 1"
    with server([cut]) as (url, _), Api(url, None) as api, pytest.raises(Failure) as raised:
        list(api.lines("/stream"))
    assert raised.value.status == UNREACHABLE


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:x",
        "http://u@host",
        "http://h?q",
        "http://h\n",
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(Failure) as raised:
        Api(url, None)
    assert raised.value.status == USAGE


@pytest.mark.parametrize("key", ["a b", "a\n", "\u00e9", "a\r\nX: y"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(Failure) as raised:
        Api("http://host", key)
    assert raised.value.status == USAGE
    assert key not in raised.value.message
