"""Signatures: the published vector, and everything that is not quite one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from tocsin.core.destination import Destination, SealedSecret, Transport
from tocsin.core.errors import NotAuthenticated
from tocsin.core.identifiers import DestinationId, OrganisationId
from tocsin.core.signature import sign_promptjang
from tocsin.dialects.promptjang.signing import OpenSecrets, check_signature

SECRET = "whsec_fixture"
TIMESTAMP = "1700000000"
BODY = b'{"ok":true}'
SIGNATURE = "31a99e5c88be4311395a895ea0d686baf164714d49a52bae17fad334b78db984"


@dataclass(frozen=True)
class Signed:
    """A signed request; the tests change one thing about it."""

    signature: str | None = SIGNATURE
    timestamp: str | None = TIMESTAMP
    body: bytes = BODY
    secrets: tuple[str, ...] = (SECRET,)
    now_ms: int = 1_700_000_000_000

    def but(self, **changes: Any) -> Signed:
        return dataclasses.replace(self, **changes)

    def check(self) -> tuple[str, str]:
        return check_signature(
            signature=self.signature,
            timestamp=self.timestamp,
            body=self.body,
            secrets=self.secrets,
            now_ms=self.now_ms,
            tolerance_s=300,
        )


def test_the_published_vector_passes() -> None:
    assert sign_promptjang(SECRET, TIMESTAMP, BODY) == SIGNATURE
    assert Signed().check() == (SIGNATURE, TIMESTAMP)


@pytest.mark.parametrize(
    "changed",
    [
        Signed().but(signature=None),
        Signed().but(signature=""),
        Signed().but(signature=SIGNATURE[:-1]),
        Signed().but(signature=SIGNATURE + "0"),
        Signed().but(signature=SIGNATURE.upper()),
        Signed().but(signature="sha256=" + SIGNATURE),
        Signed().but(signature="0" * 64),
        Signed().but(signature="é" * 64),
        Signed().but(signature=f"{SIGNATURE[:-1]} "),
        Signed().but(timestamp=None),
        Signed().but(timestamp=""),
        Signed().but(timestamp="1700000001"),
        Signed().but(body=b'{"ok":true} '),
        Signed().but(body=b""),
        Signed().but(secrets=("whsec_other",)),
        Signed().but(secrets=("fixture",)),
        Signed().but(secrets=()),
    ],
)
def test_whatever_differs_has_the_same_answer(changed: Signed) -> None:
    with pytest.raises(NotAuthenticated) as refused:
        changed.check()
    assert refused.value.detail == "Invalid signature"


@pytest.mark.parametrize(
    "timestamp",
    [
        "+1700000000",
        "-1700000000",
        " 1700000000",
        "1700000000 ",
        "1_700_000_000",
        "1700000000.0",
        "1.7e9",
        "0x6553f100",
        TIMESTAMP.translate({ord("0") + digit: 0x660 + digit for digit in range(10)}),
        "1700000000" * 100,
        "nan",
        "²",
    ],
)
def test_a_timestamp_is_digits_alone_however_it_is_signed(timestamp: str) -> None:
    signature = sign_promptjang(SECRET, timestamp, BODY)
    with pytest.raises(NotAuthenticated):
        Signed().but(timestamp=timestamp, signature=signature).check()


@pytest.mark.parametrize(
    ("off_s", "taken"), [(0, True), (300, True), (-300, True), (301, False), (-301, False), (10**9, False)]
)
def test_the_tolerance_holds_both_ways_and_is_inclusive(off_s: int, taken: bool) -> None:
    moved = Signed().but(now_ms=1_700_000_000_000 + off_s * 1000)
    if taken:
        moved.check()
        return
    with pytest.raises(NotAuthenticated):
        moved.check()


@pytest.mark.parametrize("secrets", [(SECRET, "whsec_new"), ("whsec_new", SECRET)])
def test_each_of_several_secrets_counts(secrets: tuple[str, ...]) -> None:
    Signed().but(secrets=secrets).check()


def test_an_empty_secret_lets_nobody_in() -> None:
    forged = sign_promptjang("", TIMESTAMP, BODY)
    with pytest.raises(NotAuthenticated):
        Signed().but(signature=forged, secrets=("",)).check()


# -- secrets that are kept open ----------------------------------------------------------------------------


@dataclass
class ManualClock:
    """A clock that is moved by hand."""

    at_ms: int = 1000

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic_s(self) -> float:
        return self.at_ms / 1000


class Opener:
    """Opens secrets as ``Destinations`` does, and counts how often."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.opened = 0

    def secrets_of(self, destination: Destination) -> list[str]:
        self.opened += 1
        now_ms = self._clock.now_ms()
        return [
            each.sealed.decode()
            for each in destination.secrets
            if each.expires_ms is None or each.expires_ms > now_ms
        ]


def endpoint(*secrets: SealedSecret, letter: bytes = b"e", revision: int = 1) -> Destination:
    return Destination(
        id=DestinationId(letter * 16),
        organisation_id=OrganisationId(b"o" * 16),
        name="endpoint",
        transport=Transport.WEBHOOK,
        created_ms=1,
        updated_ms=1,
        secrets=secrets,
        revision=revision,
    )


def opened(kept_max: int = 10) -> tuple[OpenSecrets, Opener, ManualClock]:
    clock = ManualClock()
    opener: Any = Opener(clock)
    return OpenSecrets(opener, clock, kept_max=kept_max), opener, clock


def test_secrets_are_opened_once_for_each_revision() -> None:
    secrets, opener, _clock = opened()
    for _ in range(5):
        assert secrets.of(endpoint(SealedSecret(b"one", 1))) == ("one",)
    assert opener.opened == 1
    assert secrets.of(endpoint(SealedSecret(b"two", 2), revision=2)) == ("two",)
    assert opener.opened == 2


def test_a_secret_that_runs_out_stops_counting_though_nothing_else_changed() -> None:
    secrets, _opener, clock = opened()
    rotated = endpoint(SealedSecret(b"new", 1), SealedSecret(b"old", 1, 5000), SealedSecret(b"older", 1, 3000))
    assert secrets.of(rotated) == ("new", "old", "older")
    clock.at_ms = 3000
    assert secrets.of(rotated) == ("new", "old")
    clock.at_ms = 4999
    assert secrets.of(rotated) == ("new", "old")
    clock.at_ms = 5000
    assert secrets.of(rotated) == ("new",)


def test_no_more_are_kept_than_allowed() -> None:
    secrets, opener, _clock = opened(kept_max=2)
    several = [endpoint(SealedSecret(letter, 1), letter=letter) for letter in (b"a", b"b", b"c")]
    for each in (*several, *several):
        secrets.of(each)
    assert opener.opened == 6
    assert len(secrets._kept) == 2
