"""Mails: their headers, their two parts, and what becomes of texts that try to be more than text."""

from __future__ import annotations

import email
import email.policy
import re
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.core.identifiers import DestinationId, EventId, digest, hex32
from tocsin.core.incident import IncidentState
from tocsin.transports.mail_addresses import MailAddress, find_mail_address, parse_sender
from tocsin.transports.messages.mail import CHARACTERS_MAX, mail_of
from tocsin.transports.messages.message import Field, Message, Template
from transports.messages.samples import EVENT_ID, TIME_MS, message, messages

SENDER = parse_sender("Tocsin <alerts@example.com>")
ANN = MailAddress("ann", "a.example")
DESTINATION = DestinationId(bytes(range(16)))
LINK = "https://t.example/unsubscribe/" + "A" * 86
HEADERS = [
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Entity-Ref-ID",
    "MIME-Version",
    "Content-Type",
]


def made(shown: Message, **options: Any) -> EmailMessage:
    """Return a mail as who gets it reads it: written to bytes and read again."""
    given: dict[str, Any] = {
        "sender": SENDER,
        "to": [ANN],
        "subject": "PingPilot Alert",
        "event_id": EVENT_ID,
        "destination_id": DESTINATION,
        "date_ms": TIME_MS,
    }
    data = mail_of(shown, **given | options).mail.as_bytes()
    assert max(len(line) for line in data.split(b"\r\n")) <= 998
    assert b"\n" not in data.replace(b"\r\n", b"")
    return email.message_from_bytes(data, policy=email.policy.default)


def part(mail: EmailMessage, subtype: str) -> str:
    """Return a part's text."""
    body = mail.get_body((subtype,))
    assert body is not None
    text: str = body.get_content()
    return text.replace("\r\n", "\n")


class _Reader(HTMLParser):
    """What a mail program makes of a page.

    Attributes:
        tags: with their attributes, in order.
        cells: the text of each cell and heading, blank ones left out.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self._text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th", "h1"):
            self._text = ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "h1") and self._text.strip("\n\xa0"):
            self.cells.append(self._text)
            self._text = ""

    def handle_data(self, data: str) -> None:
        self._text += data


# -- headers -----------------------------------------------------------------------------------------------


def test_the_headers_of_a_categorys_mail() -> None:
    mail = made(message(), unsubscribe=LINK)
    assert mail.items() == [
        ("From", "Tocsin <alerts@example.com>"),
        ("To", "ann@a.example"),
        ("Subject", "PingPilot Alert"),
        ("Date", "Fri, 06 Mar 2026 10:30:00 +0000"),
        ("Message-ID", mail["Message-ID"]),
        ("Auto-Submitted", "auto-generated"),
        ("X-Entity-Ref-ID", f"evt_{hex32(EVENT_ID)}"),
        ("List-Unsubscribe", f"<{LINK}>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),
        ("MIME-Version", "1.0"),
        ("Content-Type", mail["Content-Type"]),
    ]
    assert re.fullmatch(r"<[0-9a-f]{32}@example\.com>", mail["Message-ID"])
    assert mail.get_content_type() == "multipart/alternative"
    assert [each.get_content_type() for each in mail.iter_parts()] == ["text/plain", "text/html"]


def test_long_headers_that_programs_read_are_not_encoded() -> None:
    data = mail_of(
        message(template=Template.INCIDENT, thread="f" * 32),
        sender=parse_sender("alerts@" + "a" * 60 + "." + "b" * 60 + ".example"),
        to=[ANN],
        subject="s",
        event_id=EVENT_ID,
        destination_id=DESTINATION,
        date_ms=TIME_MS,
        unsubscribe=LINK,
    ).mail.as_bytes()
    assert f"\r\nList-Unsubscribe: <{LINK}>\r\n".encode() in data
    assert b"=?" not in data
    assert re.search(rb"\r\nReferences: <[0-9a-f]{32}@a{60}\.b{60}\.example>\r\n", data)


def test_one_click_needs_https_and_no_link_is_no_header() -> None:
    assert "List-Unsubscribe" not in made(message())
    plain = made(message(), unsubscribe="http://t.example/unsubscribe/A")
    assert (plain["List-Unsubscribe"], plain["List-Unsubscribe-Post"]) == ("<http://t.example/unsubscribe/A>", None)


def test_the_mails_of_an_incident_are_one_thread() -> None:
    first_id, second_id = EventId(b"\x01" * 16), EventId(b"\x02" * 16)
    shown = message(template=Template.INCIDENT, thread=hex32(first_id), state=IncidentState.ONGOING)
    first = made(shown, event_id=first_id)
    second = made(shown, event_id=second_id)
    assert (first["In-Reply-To"], first["References"]) == (None, None)
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert second["Message-ID"] != first["Message-ID"]
    assert first["X-Entity-Ref-ID"] == second["X-Entity-Ref-ID"] == f"inc_{hex32(first_id)}"
    elsewhere = made(shown, event_id=second_id, destination_id=DestinationId(bytes(16)))
    assert elsewhere["References"] != second["References"]


SEVERITY = (Field("Severity", "critical"),)


@pytest.mark.parametrize(
    ("changes", "subject"),
    [
        ({}, "PingPilot Alert"),
        ({"template": Template.PLAIN, "heading": "order.created"}, "order.created"),
        ({"template": Template.PLAIN, "heading": "Disk", "fields": SEVERITY}, "[CRITICAL] Disk"),
        ({"template": Template.PLAIN, "heading": "", "fields": (Field("Severity", "x] y"),)}, "\u2014"),
        ({"template": Template.INCIDENT, "heading": "DB", "state": IncidentState.ONGOING}, "[ONGOING] DB"),
        (
            {"template": Template.INCIDENT, "heading": "DB", "state": IncidentState.ONGOING, "fields": SEVERITY},
            "[CRITICAL] DB",
        ),
        (
            {
                "template": Template.INCIDENT,
                "heading": "Closed: DB",
                "state": IncidentState.CLOSED,
                "fields": SEVERITY,
            },
            "[CLOSED] DB",
        ),
    ],
)
def test_what_is_urgent_stands_first_in_the_subject(changes: dict[str, Any], subject: str) -> None:
    assert made(message(**changes))["Subject"] == subject


# -- what texts try to be ----------------------------------------------------------------------------------

SCRIPTS = "\u0431\u0430\u0437\u0430 \u6570\u636e \u0642\u0627\u0639\u062f\u0629"
BOUNDARY = f"=_{digest(b'mail', DESTINATION, hex32(EVENT_ID).encode()).hex()}"


def _lines(*lines: str) -> tuple[str, str]:
    """Return lines of a sender's as the text part and the page show them."""
    return "\n  ".join(lines), "\n".join(lines)


# name: text, in a header, in the text part, in a cell of the page
CASES: dict[str, tuple[str, ...]] = {
    "plain": ("Database lag", "Database lag", "Database lag", "Database lag"),
    "a header": ("a\r\nBcc: eve@e.example", "a Bcc: eve@e.example", *_lines("a", "Bcc: eve@e.example")),
    "a header behind CR": ("a\rBcc: b@c", "a Bcc: b@c", "a\n  Bcc: b@c", "a\nBcc: b@c"),
    "a header behind LF": ("a\nBcc: b@c", "a Bcc: b@c", "a\n  Bcc: b@c", "a\nBcc: b@c"),
    "a header behind a line separator": ("a\u2028Bcc: b@c", "a Bcc: b@c", "a\n  Bcc: b@c", "a\nBcc: b@c"),
    "a body": ("a\r\n\r\n<h1>b", "a <h1>b", "a\n\n  <h1>b", "a\n\n<h1>b"),
    "an encoded word": (
        "=?utf-8?q?a=0D=0ABcc=3A_eve=40e.example?=",
        "= ?utf-8?q?a=0D=0ABcc=3A_eve=40e.example?=",
        "=?utf-8?q?a=0D=0ABcc=3A_eve=40e.example?=",
        "=?utf-8?q?a=0D=0ABcc=3A_eve=40e.example?=",
    ),
    "an encoded word in Base64": (
        "x =?utf-8?b?DQpCY2M6IGI=?= y",
        "x = ?utf-8?b?DQpCY2M6IGI= ?= y",
        *["x =?utf-8?b?DQpCY2M6IGI=?= y"] * 2,
    ),
    "an encoded word in pieces": ("==??utf-8?q?=0A?=", "== ??utf-8?q?=0A?=", *["==??utf-8?q?=0A?="] * 2),
    "an encoded word across a line": ("=\r\n?utf-8?q?a?=", "= ?utf-8?q?a?=", "=\n  ?utf-8?q?a?=", "=\n?utf-8?q?a?="),
    "null bytes": ("a\x00b", *["a\u2400b"] * 3),
    "control characters": ("a\x08\x1b[31m\x7f\x9bb", *["a\u2408\u241b[31m\u2421\ufffdb"] * 3),
    "reversed writing": ("a\u202egpj.exe\u202cb", *["agpj.exeb"] * 3),
    "isolates": ("a\u2066b\u2069c", *["abc"] * 3),
    "lone surrogates": ("a\ud83db\udc00", *["a\ufffdb\ufffd"] * 3),
    "marks without end": ("a" + "\u0301" * 99, *["a" + "\u0301" * 8] * 3),
    "emoji": ("\U0001f468\u200d\U0001f469\u200d\U0001f467", *["\U0001f468\u200d\U0001f469\u200d\U0001f467"] * 3),
    "a tag": ("<b>bold</b>", *["<b>bold</b>"] * 3),
    "a script": ("<script>alert(1)</script>", *["<script>alert(1)</script>"] * 3),
    "an event of the page": ('<img src=x onerror="alert(1)">', *['<img src=x onerror="alert(1)">'] * 3),
    "the end of an attribute": ('"><img src=x>', *['"><img src=x>'] * 3),
    "the end of a style": ("</style><script>x</script>", *["</style><script>x</script>"] * 3),
    "the end of the page": ("</td></tr></table></body></html>x", *["</td></tr></table></body></html>x"] * 3),
    "a comment": ("<!-- x --><![CDATA[y]]>", *["<!-- x --><![CDATA[y]]>"] * 3),
    "a style": ("red;background:url(//e.example/x)", *["red;background:url(//e.example/x)"] * 3),
    "entities": ("&lt;b&gt; &amp; &#64;", *["&lt;b&gt; &amp; &#64;"] * 3),
    "an address that runs": ("javascript:alert(1)", *["javascript:alert(1)"] * 3),
    "an address with data": ("data:text/html,<script>1</script>", *["data:text/html,<script>1</script>"] * 3),
    "an address": ("https://e.example/?a=1&b=2", *["https://e.example/?a=1&b=2"] * 3),
    "a template": ("{{ 7*7 }} {% raw %} ${7}", *["{{ 7*7 }} {% raw %} ${7}"] * 3),
    "a dot on a line of its own": ("a\n.\nb", "a . b", "a\n  .\n  b", "a\n.\nb"),
    "From on a line": ("a\nFrom b", "a From b", "a\n  From b", "a\nFrom b"),
    "the end of a part": (
        f"a\n--{BOUNDARY}\nContent-Type: text/html",
        f"a --{BOUNDARY} Content-Type: text/html",
        *_lines("a", f"--{BOUNDARY}", "Content-Type: text/html"),
    ),
    "a field that is none": ("a\npaid: true", "a paid: true", "a\n  paid: true", "a\npaid: true"),
    "a signature": ("a\n-- \nGet no more", "a -- Get no more", "a\n  --\n  Get no more", "a\n-- \nGet no more"),
    "a word without end": ("w" * 2000, "w" * 199 + "\u2026", "w" * 2000, "w" * 2000),
    "quoted-printable": ("a=3Cb=\nc", "a=3Cb= c", "a=3Cb=\n  c", "a=3Cb=\nc"),
    "other scripts": (SCRIPTS, SCRIPTS, SCRIPTS, SCRIPTS),
    "commas and brackets": ('"a" <b@c>, d; (e)', *['"a" <b@c>, d; (e)'] * 3),
    "what cannot be seen": ("a\u200b\u2060\ufeffb", *["a\u200b\u2060\ufeffb"] * 3),
}  # fmt: skip
OURS = {"html", "head", "meta", "title", "style", "body", "table", "tr", "td", "th", "h1", "br", "span"}
_CASES = pytest.mark.parametrize(("text", "header", "plain", "cell"), CASES.values(), ids=CASES.keys())


def test_there_are_forty() -> None:
    assert len(CASES) >= 40


@_CASES
def test_a_text_stays_a_text(text: str, header: str, plain: str, cell: str) -> None:
    shown = message(
        template=Template.PLAIN, emoji="", heading=text, text=text, fields=(Field("name", text),), images=(text,)
    )
    mail = made(shown, subject=text)
    assert [name for name, _ in mail.items()] == HEADERS
    assert mail["Subject"] == header
    assert (mail["To"], mail["From"]) == ("ann@a.example", "Tocsin <alerts@example.com>")
    assert not mail.defects
    head, _, rest = part(mail, "plain").partition("\n=")
    assert "\n" not in head
    rows = rest.partition("\n\n")[2]
    assert rows == f"  {plain}\n\nname: {plain}\nImage: {plain}\n\n{shown.time}\n"
    page = _Reader(part(mail, "html"))
    plainest = _Reader(part(made(message(fields=(Field("a", "b"),) * 2, text="c")), "html"))
    assert page.tags == [
        (tag, {k: "#ff0000" if k == "bgcolor" else v for k, v in attributes.items()})
        for tag, attributes in plainest.tags
    ]
    assert page.cells[1:] == [cell, "name", cell, "Image", cell, shown.time]


@_CASES
def test_names_of_fields_and_notes_too(text: str, header: str, plain: str, cell: str) -> None:
    shown = message(text="", fields=(Field(text, "v"),), note=text, footer=text)
    mail = made(shown, sender=SENDER)
    assert [name for name, _ in mail.items()] == HEADERS
    (row,) = [line for line in part(mail, "plain").split("\n") if line.endswith(": v")]
    page = _Reader(part(mail, "html"))
    assert row.startswith(page.cells[2])
    assert page.cells[3] == "v"
    assert {tag for tag, _ in page.tags} <= OURS


@given(shown=messages(), subject=st.text(min_size=1, max_size=300))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_it_says_a_mail_is_one_mail(shown: Message, subject: str) -> None:
    mail = made(shown, subject=subject)
    assert [name for name, _ in mail.items()] == HEADERS
    assert not mail.defects
    assert "\n" not in mail["Subject"]
    assert [each.get_content_type() for each in mail.iter_parts()] == ["text/plain", "text/html"]


# -- what is shown -----------------------------------------------------------------------------------------


def test_every_field_is_a_row_in_the_categorys_colour() -> None:
    fields = (Field("amount", "49.99"), Field("empty", ""), Field("lines", "a\n  b"))
    mail = made(message(fields=fields, color=0x00FF0A, note="Held back: 3", footer="f", omitted=2), unsubscribe=LINK)
    page = _Reader(part(mail, "html"))
    assert page.cells == [
        "Held back: 3", "\U0001f41b Bug", "text", "amount", "49.99", "empty", "\u2014", "lines", "a\n  b", "+2 more",
        "2026-03-06T10:30:00.000ZfGet no more of these mails",
    ]  # fmt: skip
    assert [attributes["bgcolor"] for _, attributes in page.tags if "bgcolor" in attributes] == ["#00ff0a"]
    assert [attributes["href"] for _, attributes in page.tags if "href" in attributes] == [LINK]
    assert not [tag for tag, _ in page.tags if tag in ("img", "script", "link", "iframe")]
    assert part(mail, "plain") == (
        "Held back: 3\n\n\U0001f41b Bug\n=====\n\n  text\n\n"
        "amount: 49.99\nempty: \u2014\nlines: a\n    b\n+2 more\n\n"
        f"2026-03-06T10:30:00.000Z\nf\n\n-- \nGet no more of these mails: {LINK}\n"
    )


def test_a_mail_has_a_bound_and_says_what_is_left_out() -> None:
    fields = tuple(Field(f"name {number}", "v" * 16_000) for number in range(1000))
    mail = made(message(fields=fields, omitted=7))
    rows = [line for line in part(mail, "plain").split("\n") if line.startswith("name ")]
    assert len(part(mail, "plain")) < CHARACTERS_MAX + 1000
    assert f"+{1000 - len(rows) + 7} more\n" in part(mail, "plain")
    assert rows[-1].endswith("\u2026")


# -- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ann@a.example", "ann@a.example"),
        ("a.b+c_d-e!#$%&'*/^`{|}~@A.example", "a.b+c_d-e!#$%&'*/^`{|}~@A.example"),
        ("ann@b\u00fccher.example", "ann@xn--bcher-kva.example"),
        ("ann@xn--strae-oqa.example", "ann@xn--strae-oqa.example"),
        ("j\u00f6rg@a.example", "j\u00f6rg@a.example"),
        ("tocsin@localhost", "tocsin@localhost"),
        *[
            (each, None)
            for each in (
                "", "@", "a@", "@b", "a@b@c", ".a@b", "a.@b", "a..b@c", "a b@c", "a@b c", '"a"@b', "a@[1.2.3.4]",
                "a@b.", "a@-b", "a\n@b", "a@b\n", "=?q?@b", "a=?b@c", "a@b..c", "a\u202e@b", "a\x00@b", "<a@b>",
                "a" * 65 + "@b", "a@" + "b." * 140 + "c", "a@stra\u00dfe.example", "a@STRA\u1e9eE.example",
                "a@\u03b1\u03c2.example", "a@b\u200cc.example", "a@b\u200dc.example",
            )
        ],
    ],
)  # fmt: skip
def test_an_address_is_written_as_it_is_or_not_at_all(text: str, written: str | None) -> None:
    found = find_mail_address(text)
    assert (None if found is None else found.text) == written
    if found is not None:
        assert made(message(), to=[found, ANN])["To"] == f"{written}, ann@a.example"


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("alerts@example.com", "alerts@example.com"),
        (" Tocsin <alerts@example.com> ", "Tocsin <alerts@example.com>"),
        ('"Ops, Inc." <alerts@example.com>', '"Ops, Inc." <alerts@example.com>'),
        ("W\u00e4chter <alerts@example.com>", "W\u00e4chter <alerts@example.com>"),
    ],
)
def test_a_sender_may_have_a_name(text: str, header: str) -> None:
    assert made(message(), sender=parse_sender(text))["From"] == header


@pytest.mark.parametrize(
    "text", ["", "alerts", "a@b, c@d", "x <y", "x <a@b> z", "=?utf-8?q?x?= <a@b>", "a\nb <a@b>", "x <\u00fc@b>"]
)
def test_what_is_no_sender_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a mail address"):
        parse_sender(text)
