"""Which route a request belongs to, and who answers where it belongs to none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import Answer, Gateway
from serving import Served, nobodys, route, served
from surface import SURFACE, Mounted, built_routes, credentials, every_path, every_route, is_told_as
from tocsin.web.app import App, Area
from tocsin.web.http import Request, Response, json_response
from wire import request, wire

every_get = pytest.mark.parametrize("mounted", [each for each in SURFACE if each.method == "GET"], ids=str)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

# -- the gateway's own routes ------------------------------------------------------------------------------


def test_every_route_is_in_the_table(tmp_path: Path) -> None:
    built = {(each.name, each.method, each.path) for each in built_routes(tmp_path / "data")}
    assert built == {(each.dialect, each.method, each.path) for each in SURFACE}


def test_only_what_stores_payloads_takes_large_bodies(tmp_path: Path) -> None:
    limits = {f"{each.method} {each.path}": each.body_limit_bytes for each in built_routes(tmp_path / "data")}
    mebibyte = 1_048_576
    assert {route: limit for route, limit in limits.items() if limit > 65_536} == {
        "POST /api/v1/event": mebibyte,
        "POST /api/v1/events": mebibyte,
        "POST /api/v1/e/{endpoint_id}": mebibyte,
        "POST /e/{endpoint_id}": mebibyte,
        "POST /events/v2/projects/{project}/events/{event}": mebibyte,
        "POST /api/v1/cloudevents": mebibyte,
        "POST /channel/sync": 524_288,
        **{f"POST {each.path}": 5_242_880 for each in SURFACE if each.dialect == "buildable"},
    }


@pytest.fixture(name="key", scope="module")
def _key(gateway: Gateway) -> str:
    return gateway.new_organisation()["key"]


@every_route
def test_every_route_is_reached(gateway: Gateway, key: str, mounted: Mounted) -> None:
    answer = ask(gateway, mounted.method, mounted.asked(), mounted.dialect, key)
    assert answer.status != 405
    assert b"route_not_found" not in answer.body
    assert b"no such route" not in answer.body


@every_path
def test_another_method_is_refused_with_those_there_are(gateway: Gateway, key: str, mounted: Mounted) -> None:
    mounted_here = [each for each in SURFACE if each.path == mounted.path]
    owners = {each.dialect for each in mounted_here}
    allowed = {each.method for each in mounted_here} | ({"HEAD"} if any(map(is_safe, mounted_here)) else set())
    for method in METHODS:
        if method in allowed:
            continue
        answer = ask(gateway, method, mounted.filled(), mounted.dialect, key)
        assert answer.status == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed
        assert method == "HEAD" or any(is_told_as(owner, answer) for owner in owners), answer.body


@every_get
def test_what_is_read_by_get_is_there_for_head_and_nothing_else_is(
    gateway: Gateway, key: str, mounted: Mounted
) -> None:
    answer = ask(gateway, "HEAD", mounted.asked(), mounted.dialect, key)
    told = ask(gateway, "GET", mounted.asked(), mounted.dialect, key)
    assert answer.body == b""
    assert answer.status == (told.status if is_safe(mounted) else 405)


def is_safe(mounted: Mounted) -> bool:
    """Return whether a route is a GET that only reads; one that stores something wants the scope ingest."""
    return mounted.method == "GET" and mounted.scope != "ingest"


@every_path
def test_a_path_is_exact(gateway: Gateway, mounted: Mounted) -> None:
    for path in (f"{mounted.filled()}/", f"{mounted.filled()}%2F", f"/{mounted.filled()}", f"{mounted.filled()}/x/y"):
        if mounted.path == "/" and path.startswith("//"):
            path = "//x"  # noqa: PLW2901  the path above, twice, is no target
        answer = ask(gateway, mounted.method, path)
        assert answer.status in (404, 405), path
        if answer.status == 404:
            assert is_told_as(area_of(path), answer), answer.body


def area_of(path: str) -> str:
    """Return the dialect that answers for an unknown path."""
    if path.startswith("/api/v1/"):
        return "native"
    return "nativeframe" if path.startswith(("/events/v2/", "/auth/v1/")) else "pushgo"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/Health",
        "/api",
        "/api/v2/events",
        "/api/v1x/events",
        "/events/v1/x",
        "/event",
        "/e",
        "/e/",
        "/e/a/b",
        "/./health",
        "/x/../health",
        "//health",
        "/health;a=b",
        "/api/v1/nothing",
        "/api/v1/events/a/b/c",
        "/api/v1/endpoints/a%2Fb",
        "/api/v1/x%00",
        "/events/v2/nothing",
        "/auth/v1/x",
        "/events/v2/projects/a/events/",
        "/events/v2/projects//events/b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_path_is_answered_by_its_area(gateway: Gateway, method: str, path: str) -> None:
    answer = ask(gateway, method, path)
    assert answer.status == 404
    assert is_told_as(area_of(path), answer)
    assert ("x-ratelimit-limit" in answer.headers) == (area_of(path) == "native")
    assert ("x-request-id" in answer.headers) == (area_of(path) == "pushgo")


@pytest.mark.parametrize("path", ["/api/v1", "/events/v2", "/auth/v1"])
def test_an_area_begins_at_its_own_name(gateway: Gateway, path: str) -> None:
    answer = ask(gateway, "GET", path)
    assert answer.status == 404
    assert is_told_as(area_of(path + "/"), answer)


def test_the_server_as_a_whole_has_no_routes(gateway: Gateway) -> None:
    with wire(gateway.base_url) as client:
        client.send(request("OPTIONS", "*"))
        assert client.reply().status == 404


def ask(gateway: Gateway, method: str, path: str, dialect: str = "", key: str | None = None) -> Answer:
    """Send a request with an empty body."""
    headers = credentials(dialect, key)
    return gateway.process.request(method, path, headers=headers)


# -- routing by itself -------------------------------------------------------------------------------------


def area(name: str) -> Area:
    def answer(_request: Request) -> Response:
        return json_response(404, name)

    return Area(f"/{name}" if name else "", answer)


@pytest.fixture(name="routed", scope="module")
def _routed() -> Iterator[Served]:
    routes = (
        route("GET", "/a/{x}"),
        route("POST", "/a/{x}", name="posted"),
        route("GET", "/a/exact"),
        route("GET", "/a/{x}/b/{y}"),
        route("GET", "/a/{x}/c"),
        route("GET", "/stores", head=False),
    )
    with served(*routes, areas=(area(""), area("a"), area("a/deep"))) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/a/1", {"x": "1"}),
        ("/a/exact", {}),
        ("/a/Exact", {"x": "Exact"}),
        ("/a/%20%C3%A9", {"x": " \u00e9"}),
        ("/a/%", {"x": "%"}),
        ("/a/%zz", {"x": "%zz"}),
        ("/a/%ff", {"x": "\ufffd"}),
        ("/a/%00", {"x": "\0"}),
        ("/a/..", {"x": ".."}),
        ("/a/1/b/2", {"x": "1", "y": "2"}),
        ("/a/%7Bx%7D/c", {"x": "{x}"}),
    ],
)
def test_a_parameter_is_one_segment_decoded(routed: Served, path: str, parameters: dict[str, str]) -> None:
    with wire(routed.base_url) as client:
        client.send(request("GET", path))
        assert client.reply().json["parameters"] == parameters


@pytest.mark.parametrize(
    ("path", "name"),
    [("/", ""), ("/b", ""), ("/ab", ""), ("/a", "a"), ("/a/", "a"), ("/a/1/d", "a"), ("/a/deep/er/x", "a/deep")],
)
def test_the_longest_area_that_fits_answers(routed: Served, path: str, name: str) -> None:
    with wire(routed.base_url) as client:
        client.send(request("DELETE", path, body=b"x" * 100_000) + request("GET", "/a/exact"))
        answer = client.reply()
        assert (answer.status, answer.json) == (404, name)
        assert client.reply().status == 200
    assert routed.answered[-2].dialect == "none"


def test_head_reaches_no_get_that_changes_something(routed: Served) -> None:
    with wire(routed.base_url) as client:
        client.send(request("HEAD", "/a/exact") + request("HEAD", "/stores") + request("GET", "/stores"))
        assert client.reply(has_body=False).status == 200
        refused = client.reply(has_body=False)
        assert (refused.status, refused.headers["allow"]) == (405, "GET")
        assert client.reply().json["method"] == "GET"


def test_what_is_routed_twice_is_a_mistake_of_the_program() -> None:
    for second in (route("GET", "/a/{x}"), route("POST", "/a/{y}")):
        with pytest.raises(AssertionError):
            App(
                [route("GET", "/a/{x}"), second],
                [Area("", nobodys)],
                report=lambda *_: None,
                body_deadline_s=1.0,
                bodies_bytes_max=1,
            )


def test_an_unknown_path_is_finished_and_stays_unknown_whatever_the_body_is() -> None:
    def finish(_request: Request, response: Response) -> None:
        response.headers = [*response.headers, (b"x-finished", b"yes")]

    with served(areas=(Area("", nobodys, finish),)) as running, wire(running.base_url) as client:
        client.send(request("POST", "/x", "Content-Encoding: gzip", body=b"{}"))
        answer = client.reply()
    assert (answer.status, answer.json["code"], answer.headers["x-finished"]) == (404, "not_found", "yes")
