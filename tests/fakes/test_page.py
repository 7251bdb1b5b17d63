"""The page shows what arrived, newest first, and nothing of it becomes more than text."""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from html.parser import HTMLParser
from http.client import HTTPConnection
from typing import Any

import pytest

from fakes.calls import DEADLINE_S, call, control, post
from tocsin.fakes import Fakes
from tocsin.fakes.page.markdown import marked_up

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)></article></main>&lt;`{{7*7}}"
OURS = {
    *("html", "head", "meta", "title", "link", "script", "body", "header", "main", "section", "article", "footer"),
    *("h1", "h2", "h3", "p", "span", "div", "b", "br", "code", "pre", "ol", "li", "dl", "dt", "dd", "time", "strong"),
    *("details", "summary", "button", "form", "label", "input", "svg", "rect", "iframe"),
}


class Reader(HTMLParser):
    """Reads a page as a browser would.

    Attributes:
        tags: every element with its attributes.
        text: all text between them.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(fakes: Fakes) -> Reader:
    """Return the page."""
    answer = call("GET", fakes.page.url)
    assert answer.status == 200
    return Reader(answer.body.decode())


def send_mail(fakes: Fakes, subject: str, text: str, html: str | None = None) -> None:
    """Send a mail from its subject."""
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = "a@example.com"
    mail["To"] = "b@example.com"
    mail["X-Hostile"] = subject
    mail.set_content(text)
    if html is not None:
        mail.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", fakes.smtp.port, timeout=DEADLINE_S) as client:
        client.send_message(mail)


def send_hostile(fakes: Fakes) -> None:
    """Put the hostile text wherever text can be."""
    embed: dict[str, Any] = {"title": HOSTILE, "description": HOSTILE}
    embed |= {"footer": {"text": HOSTILE}, "author": {"name": HOSTILE}, "image": {"url": f"https://x/{HOSTILE[:9]}"}}
    embed["fields"] = [{"name": HOSTILE, "value": HOSTILE, "inline": True}]
    embed |= {"color": 0xFF6B6B, "timestamp": "2026-03-06T10:30:00.000Z"}
    assert post(fakes.discord.webhook_url(), {"content": HOSTILE, "embeds": [embed]}).status == 204
    body = {"chat_id": 1, "text": HOSTILE}
    assert post(f"{fakes.telegram.api_base}/bot1:a/sendMessage", body).status == 200
    assert call("GET", f"{fakes.telegram.api_base}/%3Cscript%3Ealert(1)%3C/script%3E").status == 404
    send_mail(fakes, HOSTILE, HOSTILE, f"<b>{HOSTILE}</b>")


def test_nothing_that_arrives_becomes_markup(fakes: Fakes) -> None:
    send_hostile(fakes)
    page = read(fakes)

    assert {tag for tag, _ in page.tags} <= OURS
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{"type": "module", "src": "/page.js"}]
    names = {name for _, attributes in page.tags for name in attributes}
    assert not any(name.startswith("on") for name in names)
    assert "style" not in names
    # Content, six times in the embed, a bubble; of the mail subject, a header of its own, all headers, and the text.
    assert page.text.count(HOSTILE) >= 10
    assert "/<script>alert(1)</script>" in page.text


def test_the_page_has_a_policy_under_which_nothing_foreign_runs(fakes: Fakes) -> None:
    policy = call("GET", fakes.page.url).headers["content-security-policy"].split("; ")

    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert not any("unsafe" in each or "http" in each or "*" in each for each in policy)


def test_a_mails_html_is_framed_without_scripts_and_without_an_origin(fakes: Fakes) -> None:
    send_hostile(fakes)
    frames = [attributes for tag, attributes in read(fakes).tags if tag == "iframe"]
    assert len(frames) == 1
    assert frames[0]["sandbox"] is None
    assert "srcdoc" not in frames[0]
    answer = call("GET", fakes.page.url.rstrip("/") + str(frames[0]["src"]))
    policy = answer.headers["content-security-policy"].split("; ")

    assert HOSTILE in answer.body.decode()
    assert policy[:2] == ["sandbox", "default-src 'none'"]
    assert not any(each.startswith("script-src") for each in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_was_changed_is_marked_and_the_newest_stands_first(fakes: Fakes) -> None:
    post(fakes.discord.webhook_url(), {"content": "first"})
    told = post(f"{fakes.discord.webhook_url()}?wait=true", {"content": "second"})
    call("PATCH", f"{fakes.discord.webhook_url()}/messages/{told.json['id']}", {"content": "changed"})
    page = read(fakes)
    articles = [attributes["data-version"] for tag, attributes in page.tags if tag == "article"]

    assert articles == ["1", "0"]
    assert page.text.index("changed") < page.text.index("first")
    assert "second" not in page.text
    assert "(edited 1x)" in page.text


def test_an_embed_has_its_colour_and_its_fields_beside_each_other(fakes: Fakes) -> None:
    fields = [{"name": "a", "value": "1", "inline": True}, {"name": "b", "value": "2", "inline": False}]
    post(fakes.discord.webhook_url(), {"embeds": [{"title": "t", "color": 0xFF6B6B, "fields": fields}]})
    page = read(fakes)

    assert [attributes["fill"] for tag, attributes in page.tags if tag == "rect"] == ["#ff6b6b"]
    assert sum(attributes.get("class") == "inline" for _, attributes in page.tags) == 1


def test_a_message_that_wakes_somebody_says_so(fakes: Fakes) -> None:
    post(fakes.discord.webhook_url(), {"content": "@everyone", "allowed_mentions": {"parse": []}})
    assert "wakes" not in read(fakes).text
    post(fakes.discord.webhook_url(), {"content": "@everyone"})
    assert "wakes @everyone" in read(fakes).text


def test_every_button_holds_orders_that_its_fake_follows(fakes: Fakes) -> None:
    buttons = [attributes for tag, attributes in read(fakes).tags if tag == "button" and "data-control" in attributes]
    assert {each["data-control"] for each in buttons} == {"discord", "telegram", "smtp"}
    for each in buttons:
        name, orders = str(each["data-control"]), str(each["data-orders"]).encode()
        url = f"{fakes.page.url}_control/{name}"
        assert call("POST", url, orders, headers={"Content-Type": "application/json"}).status == 200


def test_a_name_that_was_made_to_lead_here_is_refused(fakes: Fakes) -> None:
    assert call("GET", fakes.page.url, headers={"Host": "rebound.example"}).status == 400


def test_browsers_are_told_of_changes_at_once(fakes: Fakes) -> None:
    host, port = fakes.page.url.removeprefix("http://").rstrip("/").split(":")
    connection = HTTPConnection(host, int(port), timeout=DEADLINE_S)
    try:
        connection.request("GET", "/changes")
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        first = answer.readline()
        answer.readline()
        control(fakes.page.url, "smtp", {"clear": True})
        second = answer.readline()
        assert first.startswith(b"data: ")
        assert int(second.removeprefix(b"data: ")) > int(first.removeprefix(b"data: "))
    finally:
        connection.close()


def test_what_the_page_loads_is_its_own(fakes: Fakes) -> None:
    for tag, attributes in read(fakes).tags:
        source = attributes.get("src" if tag == "script" else "href") if tag in ("script", "link") else None
        if source is not None:
            answer = call("GET", fakes.page.url.rstrip("/") + source)
            assert answer.status == 200
            assert b"://" not in answer.body


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a **b** _c_ ~~d~~ `**e**`", "a <strong>b</strong> <em>c</em> <s>d</s> <code>**e**</code>"),
        (r"\*\*a\*\* \_b\_ error_code_x", "**a** _b_ error_code_x"),
        ("a\n<b>", "a<br>&lt;b&gt;"),
        ("@everyone <@5>", '<span class="mention">@everyone</span> <span class="mention">&lt;@5&gt;</span>'),
        ('[a](https://x/"onclick=)', '<span class="link" title="https://x/&quot;onclick=">a</span>'),
        ("[a](javascript:alert)", "[a](javascript:alert)"),
        ("# big\nsmall", '<span class="heading">big</span><br>small'),
        ("**__~~||*a*||~~__**", "<strong><u><s><mark>*a*</mark></s></u></strong>"),
    ],
)
def test_discords_markdown_is_shown_as_discord_shows_it(text: str, shown: str) -> None:
    assert marked_up(text) == shown
