"""Links by which people get no more mails: what they hold, and that nobody else can make one."""

from __future__ import annotations

import pytest

from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.transports.unsubscribing import UnsubscribeLinks, Unsubscription, address_digest

KEY = bytes(range(32))
ORGANISATION, DESTINATION = OrganisationId(b"o" * 16), DestinationId(b"d" * 16)
LINKS = UnsubscribeLinks(KEY, "https://t.example")
BASE = "https://t.example/unsubscribe/"


def token(links: UnsubscribeLinks = LINKS, address: str = "ann@a.example") -> str:
    """Return the last part of a link."""
    link = links.link(ORGANISATION, DESTINATION, address)
    assert link is not None
    return link.removeprefix(BASE)


def test_a_link_is_read_again_and_always_the_same() -> None:
    assert LINKS.read(token()) == Unsubscription(ORGANISATION, DESTINATION, address_digest("ann@a.example"))
    assert token() == token()
    assert token() != token(address="bob@b.example")
    assert len(token()) == len(token(address="a" * 200 + "@b.example")) == 86


def test_a_link_tells_nothing_of_what_it_is_about() -> None:
    for secret in ("ann", "example", ORGANISATION.hex(), DESTINATION.hex()):
        assert secret not in token()


def test_every_changed_link_is_refused() -> None:
    whole = token()
    for place in range(len(whole)):
        other = "A" if whole[place] != "A" else "Q"
        assert LINKS.read(whole[:place] + other + whole[place + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "x", "A" * 86, "A" * 85, "A" * 10_000, "\u00e9" * 86, "%2e%2e", "a b", "====", "\x00"]
)
def test_what_is_no_link_is_refused(text: str) -> None:
    assert LINKS.read(text) is None
    assert LINKS.read(token() + text or "x") is None or text == ""


def test_another_key_reads_nothing_and_makes_others() -> None:
    others = UnsubscribeLinks(bytes(32), "https://t.example")
    assert others.read(token()) is None
    assert token(others) != token()


def test_without_a_public_url_none_are_made_and_old_ones_are_read() -> None:
    links = UnsubscribeLinks(KEY, None)
    assert links.link(ORGANISATION, DESTINATION, "ann@a.example") is None
    assert links.read(token()) is not None
