"""Pages of lists without a cursor: the same bytes, however many portions the engine has them in."""

from __future__ import annotations

import http.client
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest

from serving import route, served
from tocsin.core.errors import Unavailable
from tocsin.engine.rows import Page
from tocsin.web.http import Request, Response
from tocsin.web.whole_pages import whole_page_response
from wire import request, wire

ROWS = list(range(10))


class List:
    """A list whose pages end at some rows, as the engine's do.

    Attributes:
        read: how many rows each call asked for, and behind which row.
    """

    def __init__(self, *ends: int, fails_at: int | None = None) -> None:
        self._ends = ends
        self._fails_at = fails_at
        self.read: list[tuple[int, int]] = []

    async def page(self, limit: int, cursor: bytes | None) -> Page[int]:
        start = 0 if cursor is None else int(cursor)
        self.read.append((limit, start))
        if start == self._fails_at:
            raise Unavailable("the disk is full")
        end = min(start + limit, next(each for each in (*self._ends, len(ROWS)) if each > start or each == len(ROWS)))
        has_more = end < len(ROWS)
        return Page(rows=ROWS[start:end], next_cursor=str(end).encode() if has_more else None, total=len(ROWS))


def answering(listed: List, limit: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_request: Request) -> Response:
        return await whole_page_response(
            listed.page,
            limit,
            shown=lambda row: {"n": row},
            around=lambda page: (b'{"rows":[', b'],"total":%d}' % page.total),
        )

    return answer


@pytest.mark.parametrize("limit", [1, 3, 4, 9, 10, 50])
@pytest.mark.parametrize("ends", [(), (3,), (1, 2, 9), (4, 10), tuple(range(1, 10))])
def test_a_page_is_the_same_however_it_is_cut(limit: int, ends: tuple[int, ...]) -> None:
    listed = List(*ends)
    with served(route("GET", "/l", answering(listed, limit))) as running:
        host = running.base_url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        connection.request("GET", "/l")
        answer = connection.getresponse()
        body = answer.read()
        assert answer.getheader("content-type") == "application/json"
        connection.close()
    rows = ",".join(f'{{"n":{row}}}' for row in ROWS[:limit])
    assert body.decode() == f'{{"rows":[{rows}],"total":10}}'
    assert all(before[0] - (after[1] - before[1]) == after[0] for before, after in pairwise(listed.read))


def test_the_last_portion_may_turn_out_to_be_empty() -> None:
    class Fading(List):
        async def page(self, limit: int, cursor: bytes | None) -> Page[int]:
            if cursor is not None:
                return Page(rows=[], next_cursor=None, total=0)
            return await super().page(limit, cursor)

    with served(route("GET", "/l", answering(Fading(2), 9))) as running:
        connection = http.client.HTTPConnection(running.base_url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/l")
        assert json.loads(connection.getresponse().read()) == {"rows": [{"n": 0}, {"n": 1}], "total": 10}
        connection.close()


def test_a_fault_before_the_first_row_is_told_and_one_behind_it_cuts_the_answer_short() -> None:
    early, late = List(2, fails_at=0), List(2, fails_at=2)
    routes = (route("GET", "/early", answering(early, 9)), route("GET", "/late", answering(late, 9)))
    with served(*routes) as running:
        with wire(running.base_url) as client:
            client.send(request("GET", "/early"))
            assert client.reply().status == 503
        with wire(running.base_url) as client:
            client.send(request("GET", "/late"))
            got = client.rest()
    assert b'{"n":1}' in got
    assert not got.endswith(b"0\r\n\r\n")
    assert late.read == [(9, 0), (7, 2)]
