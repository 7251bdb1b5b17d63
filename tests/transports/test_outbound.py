"""The outbound client against real receivers on loopback."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from receivers import LOOPBACK, Answer, Receiver, exchange, hang, post, run, self_signed, unused_port
from tocsin.core.delivery import ErrorClass
from tocsin.transports.addresses import AddressPolicy, Place, UrlFault, parse_url
from tocsin.transports.outbound import BODY_KEPT_BYTES, USER_AGENT, Client, Limits, Reply, Request

ALLOWED = AddressPolicy(LOOPBACK)


def test_a_request_arrives_as_it_was_written_and_its_answer_comes_back() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(Answer(201, (("X-One", "1"), ("X-One", " 2 "), ("X-Empty", "")), b"made"))
        headers = (("Content-Type", "application/json"), ("X-Order", "a"), ("X-Empty", ""), ("x-order", "b"))
        body = b'{"zero":"\x00","text":"\xc3\xa4"}'
        reply = await exchange(client, Request("POST", receiver.url("/a%20b?c=d"), headers, body, 5.0))
        [received] = receiver.requests
        assert (received.method, received.target, received.body) == ("POST", "/a%20b?c=d", body)
        assert received.headers == (
            ("Host", f"127.0.0.1:{receiver.port}"),
            ("User-Agent", USER_AGENT),
            ("Accept", "*/*"),
            *headers,
            ("Content-Length", str(len(body))),
        )
        assert reply.status == 201
        assert reply.headers == (("X-One", "1"), ("X-One", "2"), ("X-Empty", ""), ("Content-Length", "4"))
        assert (reply.body, reply.truncated, reply.error_class, reply.error) == (b"made", False, None, None)
        assert reply.connect_ms is not None
        assert 0 <= reply.connect_ms <= reply.duration_ms + 1 < 5000

    run(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_of_which_nobody_knows_what_it_is_is_not_called_anything(method: str) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        given: list[tuple[tuple[str, str], ...]] = [(), (("X-One", "Content-Type: a/b"),), (("content-TYPE", ""),)]
        for headers in given:
            await exchange(client, Request(method, receiver.url(), headers, b"body", 5.0))
        assert [request.header("Content-Type") for request in receiver.requests] == [None, None, ""]

    run(scenario)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET"])
def test_each_method_is_sent_on_the_same_handle(method: str) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        for used in ("POST", method, "POST", method):
            body = b"" if used == "GET" else b"body"
            await exchange(client, Request(used, receiver.url(), (("Content-Type", "text/plain"),), body, 5.0))
        assert [request.method for request in receiver.requests] == ["POST", method, "POST", method]
        assert receiver.requests[1].body == (b"" if method == "GET" else b"body")
        assert receiver.connections == 1

    run(scenario)


def test_bodies_of_nothing_and_of_a_megabyte_are_sent_without_asking_first() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        for body in (b"", bytes(1024 * 1024), b"after"):
            assert (await exchange(client, post(receiver.url(), body))).status == 200
        assert [len(request.body) for request in receiver.requests] == [0, 1024 * 1024, 5]
        assert all(request.header("Expect") is None for request in receiver.requests)

    run(scenario)


def test_a_connection_is_kept_and_then_takes_no_time_to_connect() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        first, second = [await exchange(client, post(receiver.url())) for _ in range(2)]
        assert first.connect_ms is not None
        assert second.connect_ms is None
        assert receiver.connections == 1

    run(scenario)


def test_a_kept_connection_that_the_receiver_closed_is_replaced() -> None:
    async def answer_and_close(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario(client: Client, receiver: Receiver) -> None:
        for _ in range(3):
            assert (await exchange(client, post(receiver.url()))).status == 200
        assert len(receiver.requests) == receiver.connections == 3

    run(scenario, receiver=Receiver(answer_and_close))


def test_many_requests_at_once_each_get_their_own_answer() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        async def one(number: int) -> None:
            reply = await exchange(client, post(receiver.url(f"/{number}"), str(number).encode()))
            assert reply.status == 200

        await asyncio.gather(*(one(number) for number in range(300)))
        assert sorted(int(request.body) for request in receiver.requests) == list(range(300))
        assert all(request.target == f"/{request.body.decode()}" for request in receiver.requests)

    run(scenario)


def test_the_reply_never_comes_from_within_send() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        replies: list[Reply] = []
        for url in (receiver.url(), "ftp://example.com/", "http://10.0.0.1/"):
            client.send(post(url), replies.append)
            assert not replies
            assert (await exchange(client, post(receiver.url()))).status == 200
            assert len(replies) == 1
            replies.clear()

    run(scenario)


@pytest.mark.parametrize("size", [BODY_KEPT_BYTES - 1, BODY_KEPT_BYTES, BODY_KEPT_BYTES + 1, 900_000])
def test_sixteen_kibibytes_of_the_answer_are_kept(size: int) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(Answer(200, (), b"x" * size))
        reply = await exchange(client, post(receiver.url()))
        assert reply.body == b"x" * min(size, BODY_KEPT_BYTES)
        assert reply.truncated is (size > BODY_KEPT_BYTES)
        assert (await exchange(client, post(receiver.url()))).connect_ms is None

    run(scenario)


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_too_long_to_be_read_counts_by_its_status(status: int) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(Answer(status, (("X-A", "1"),), bytes(3 * 1024 * 1024)))
        reply = await exchange(client, post(receiver.url()))
        assert (reply.status, reply.error_class, reply.truncated) == (status, None, True)
        assert ("X-A", "1") in reply.headers
        assert len(reply.body) == BODY_KEPT_BYTES

    run(scenario)


def test_interim_answers_and_trailers_do_not_mix_with_the_headers() -> None:
    async def interim(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\nHTTP/1.1 202 Accepted\r\nX-Real: yes\r\n"
            b"Transfer-Encoding: chunked\r\nTrailer: X-Late\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n"
        )
        await writer.drain()

    async def scenario(client: Client, receiver: Receiver) -> None:
        reply = await exchange(client, post(receiver.url()))
        assert (reply.status, reply.body) == (202, b"ok")
        assert ("X-Real", "yes") in reply.headers
        assert all(name != "Link" for name, _ in reply.headers)

    run(scenario, receiver=Receiver(interim))


def test_headers_that_end_in_line_feeds_alone_are_told_apart() -> None:
    async def loose(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\nX-A: 1\nX-B:2 \nContent-Length: 0\n\n")
        await writer.drain()

    async def scenario(client: Client, receiver: Receiver) -> None:
        reply = await exchange(client, post(receiver.url()))
        assert reply.headers == (("X-A", "1"), ("X-B", "2"), ("Content-Length", "0"))

    run(scenario, receiver=Receiver(loose))


def test_a_redirect_is_the_answer_and_is_not_followed() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(Answer(307, (("Location", receiver.url("/elsewhere")),)))
        reply = await exchange(client, post(receiver.url()))
        assert (reply.status, reply.error_class) == (307, None)
        assert [request.target for request in receiver.requests] == ["/hook"]

    run(scenario)


def test_nothing_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password something\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")

    async def scenario(client: Client, receiver: Receiver) -> None:
        receiver.answers.append(Answer(200, (("Set-Cookie", "a=b"), ("Alt-Svc", 'h2=":1"'))))
        for _ in range(2):
            assert (await exchange(client, post(receiver.url()))).status == 200
        for received in receiver.requests:
            for name in ("Authorization", "Cookie", "Accept-Encoding", "Proxy-Authorization"):
                assert received.header(name) is None

    run(scenario)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\0b", "\ud800"])
def test_a_header_that_cannot_be_sent_fails_its_request_alone(value: str) -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        for headers in ((("X-A", value),), ((value, "x"),)):
            reply = await exchange(client, Request("POST", receiver.url(), headers, b"", 5.0))
            assert (reply.status, reply.error_class) == (None, ErrorClass.INTERNAL)
        assert not receiver.requests
        assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario)


def test_an_unknown_method_fails_its_request_alone() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        reply = await exchange(client, Request("TRACE", receiver.url(), (), b"", 5.0))
        assert reply.error_class is ErrorClass.INTERNAL
        assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario)


def test_a_closed_port_is_a_connect_error() -> None:
    async def scenario(client: Client, _: Receiver) -> None:
        port = unused_port()
        reply = await exchange(client, post(f"http://127.0.0.1:{port}/"))
        assert reply.error_class is ErrorClass.CONNECT
        assert reply.error == f"could not connect to 127.0.0.1:{port}: Connection refused"
        assert (reply.status, reply.connect_ms) == (None, None)

    run(scenario)


def test_a_receiver_that_never_answers_is_given_up_at_the_deadline() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        began = time.monotonic()
        reply = await exchange(client, post(receiver.url(), timeout_s=0.3))
        assert 0.25 <= time.monotonic() - began < 0.8
        assert (reply.error_class, reply.error) == (ErrorClass.TIMEOUT, "no complete answer within 0.3 s")
        assert 250 <= reply.duration_ms < 800
        receiver.answers.append(Answer())
        assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario, receiver=Receiver(hang))


def test_a_tls_handshake_that_never_ends_is_given_up_at_the_connect_deadline() -> None:
    async def main() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        client = Client(ALLOWED, limits=Limits(connect_s=0.3))
        await client.open()
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        reply = await exchange(client, post(url, timeout_s=20.0))
        assert (reply.error_class, reply.error) == (ErrorClass.CONNECT, "no connection within 0.3 s")
        assert reply.duration_ms < 1000
        await client.close()
        server.close()
        await server.wait_closed()

    asyncio.run(main())


def test_an_answer_slower_than_the_connect_deadline_is_waited_for() -> None:
    async def scenario(client: Client, receiver: Receiver) -> None:
        released = asyncio.Event()

        async def late(writer: asyncio.StreamWriter) -> None:
            await released.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

        for _ in range(2):  # the second on a kept connection, which libcurl says took no time to connect
            receiver.answers.extend([Answer(), late])
            assert (await exchange(client, post(receiver.url()))).status == 200
            asyncio.get_running_loop().call_later(0.5, released.set)
            assert (await exchange(client, post(receiver.url()))).status == 200

    run(scenario, Client(ALLOWED, limits=Limits(connect_s=0.1)))


def test_a_certificate_that_nobody_vouches_for_is_refused_and_a_vouched_one_taken(tmp_path: Path) -> None:
    context, authority = self_signed(tmp_path, "localhost")

    async def refused(client: Client, receiver: Receiver) -> None:
        reply = await exchange(client, post(receiver.url(host="localhost")))
        assert reply.error_class is ErrorClass.TLS
        assert "certificate" in (reply.error or "")
        assert not receiver.requests

    async def taken(client: Client, receiver: Receiver) -> None:
        for _ in range(2):
            reply = await exchange(client, post(receiver.url(host="localhost")))
            assert (reply.status, reply.error) == (200, None)
        wrong_name = await exchange(client, post(receiver.url(host="127.0.0.1")))
        assert wrong_name.error_class is ErrorClass.TLS

    run(refused, receiver=Receiver(tls=context))
    run(taken, Client(ALLOWED, ca_file=authority), Receiver(tls=context))


def test_a_request_without_an_answer_shows_nothing_of_the_one_before_it() -> None:
    def resolve(host: str) -> tuple[str, ...]:
        if host == "a.test":
            raise OSError
        return ("127.0.0.1",)

    class NotAtTheSocket(AddressPolicy):
        """Refuses 127.0.0.3 where it is connected to, and not where its URL is checked."""

        def allows(self, address: str) -> bool:
            return address != "127.0.0.3" and super().allows(address)

        def check(self, url: str) -> Place | UrlFault:
            return parse_url(url)

    async def scenario(client: Client, receiver: Receiver) -> None:
        no_answer = [
            post(receiver.url(), timeout_s=0.1),
            post("http://a.test/"),
            post(f"http://127.0.0.1:{unused_port()}/"),
            post("http://127.0.0.3/"),
            post("ftp://127.0.0.1/"),
        ]
        for request in no_answer:
            receiver.answers.extend([Answer(201, (("X-A", "1"),), b"before"), hang])
            assert (await exchange(client, post(receiver.url()))).status == 201
            reply = await exchange(client, request)
            assert reply.error_class is not None
            assert (reply.status, reply.headers, reply.body, reply.truncated) == (None, (), b"", False)
            assert reply.connect_ms is None
            receiver.answers.clear()

    run(scenario, Client(NotAtTheSocket(LOOPBACK), resolve=resolve))
