"""The description as it is served: the document, and the page that shows it."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from described import description
from gateway import Gateway

DOCUMENT = "/api/v1/openapi.json"
FILES = {
    DOCUMENT: "application/json",
    "/docs/api": "text/html; charset=utf-8",
    "/docs/api/page.css": "text/css; charset=utf-8",
    "/docs/api/page.js": "text/javascript; charset=utf-8",
}
each_file = pytest.mark.parametrize("path", FILES)


def test_anybody_gets_the_whole_document(gateway: Gateway) -> None:
    answer = gateway.process.request("GET", DOCUMENT)

    assert answer.status == 200
    assert answer.json == description()


@each_file
def test_what_the_client_has_already_is_not_sent_again(gateway: Gateway, path: str) -> None:
    first = gateway.process.request("GET", path)
    assert (first.status, first.headers["content-type"]) == (200, FILES[path])

    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = gateway.process.request("GET", path, headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    other = gateway.process.request("GET", path, headers={"If-None-Match": '"other"'})
    assert (other.status, other.body) == (200, first.body)


def test_the_page_may_load_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = gateway.process.request("GET", "/docs/api")

    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    text = page.body.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", text), (
        "the policy lets nothing inline in"
    )
    loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert {each for each in loaded if each.startswith("/docs")} == FILES.keys() - {DOCUMENT, "/docs/api"}
    for path in loaded:
        assert gateway.process.request("GET", path).status == 200


def test_no_part_of_the_page_names_another_host() -> None:
    folder = files("tocsin.dialects.native").joinpath("page")
    for name in ("page.html", "page.css", "page.js"):
        assert "//" not in re.sub(r"(?m)(^|\s)//\s.*$", "", folder.joinpath(name).read_text("utf-8")), name
