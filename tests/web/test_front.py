"""What stands at the root: a page for browsers, a few words of JSON for everybody else."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from gateway import Answer, Gateway
from surface import SURFACE
from tocsin import __version__
from tocsin.web.front import FrontPage

DIALECTS = ("PushGo", "PingPilot", "Buildable", "Native Frame", "PromptJang")
BROWSERS = ["text/html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "TEXT/HTML"]


class Page(HTMLParser):
    """What a page holds.

    Attributes:
        text: what a reader sees.
        routes: what stands in ``code``.
        policy_breaches: what the page's own policy would not let through.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.routes: list[str] = []
        self.style = ""
        self.text = ""
        self.policy_breaches: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside.append(tag)
        names = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(names["href"])
        if tag in ("script", "img", "link", "iframe", "form", "base", "object", "embed"):
            self.policy_breaches.append(tag)
        self.policy_breaches += [name for name in names if name in ("style", "src") or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        inside = self._inside[-1] if self._inside else ""
        if inside == "style":
            self.style += data
            return
        if inside == "code":
            self.routes.append(data)
        self.text += data


def opened(gateway: Gateway, accept: str = "text/html") -> Answer:
    """Return what a browser gets."""
    return gateway.process.request("GET", "/", headers={"Accept": accept})


@pytest.fixture(name="page", scope="module")
def _page(gateway: Gateway) -> Page:
    return Page(opened(gateway).body.decode())


@pytest.mark.parametrize("accept", BROWSERS)
def test_a_browser_gets_a_page(gateway: Gateway, accept: str) -> None:
    answer = opened(gateway, accept)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["vary"] == "accept"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_anybody_else_is_told_who_answers(gateway: Gateway, accept: str | None) -> None:
    answer = gateway.process.request("GET", "/", headers={} if accept is None else {"Accept": accept})
    assert (answer.status, answer.json["data"]) == (200, {"name": "Tocsin", "version": __version__})
    assert answer.headers["vary"] == "accept"


@pytest.mark.parametrize("accept", ["text/html", "*/*"])
def test_nobody_is_sent_to_a_dashboard_that_is_not_there(gateway: Gateway, accept: str) -> None:
    answer = opened(gateway, accept)
    assert "location" not in answer.headers
    assert b"/ui" not in answer.body
    assert gateway.process.request("GET", "/ui", headers={"Accept": accept}).status == 404


def test_every_request_has_an_id_of_its_own(gateway: Gateway) -> None:
    assert len({opened(gateway).headers["x-request-id"] for _ in range(3)}) == 3


def test_it_names_the_version_the_five_apis_and_the_docs(page: Page) -> None:
    for word in (__version__, *DIALECTS, "/api/v1", "README.md", "docs"):
        assert word in page.text


def test_every_link_leads_somewhere(gateway: Gateway, page: Page) -> None:
    assert set(page.links) == {"/health", "/ready", "/metrics", "/docs/api", "/api/v1/openapi.json"}
    for link in page.links:
        assert gateway.process.request("GET", link).status == 200


def test_every_route_that_it_names_is_there(page: Page) -> None:
    named = [each for each in page.routes if each.split()[0].isupper() and "/" in each]
    assert len(named) == len(DIALECTS)
    assert set(named) <= {str(each) for each in SURFACE}


def test_its_policy_allows_its_own_style_and_nothing_else(gateway: Gateway, page: Page) -> None:
    hashed = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    policy = opened(gateway).headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert f"style-src 'sha256-{hashed}'" in policy
    assert not any("unsafe" in each or "*" in each for each in policy)
    assert page.tags.count("style") == 1
    assert page.policy_breaches == []
    assert "prefers-color-scheme: dark" in page.style


def test_what_is_put_into_it_is_escaped() -> None:
    page = Page(FrontPage(version="<script>&1</script>").response().body.decode())
    assert "script" not in page.tags
    assert "<script>&1</script>" in page.text


def test_an_answer_can_be_changed_without_changing_the_next() -> None:
    front = FrontPage(version="1")
    first = front.response()
    first.headers = [*first.headers, (b"x-request-id", b"1")]
    assert (b"x-request-id", b"1") not in front.response().headers
