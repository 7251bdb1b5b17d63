"""Who a bearer is, where the gateway's token is not plain ASCII."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tocsin.core.clock import Clock
from tocsin.core.errors import NotAuthenticated
from tocsin.core.identifiers import DEFAULT_ORGANISATION
from tocsin.core.organisation import Scope
from tocsin.dialects.pushgo.entrance import Entrance
from tocsin.engine.sqlite.engine import SqliteEngine, SqliteSettings
from tocsin.pipeline.catalog import Catalog
from tocsin.web.auth import KeyRing
from tocsin.web.http import Request
from tocsin.web.passwords import ChannelPasswords


class NoTime(Clock):
    """A clock that stands still."""

    def now_ms(self) -> int:
        return 0

    def monotonic_s(self) -> float:
        return 0.0


@pytest.fixture
def entrance(tmp_path: Path) -> Entrance:
    """An entrance with a token and without any key; nothing is read from its engine."""
    catalog = Catalog(SqliteEngine(SqliteSettings(directory=tmp_path), clock=NoTime(), on_fatal=pytest.fail))
    return Entrance(
        keys=KeyRing(catalog),
        catalog=catalog,
        passwords=ChannelPasswords(clock=NoTime(), entropy=os.urandom),
        gateway_token="gelöst-\u2603",
    )


def asked_with(authorization: bytes) -> Request:
    return Request({"type": "http", "method": "POST", "headers": [(b"authorization", authorization)]}, b"")


def test_a_token_outside_ascii_is_compared_by_its_bytes(entrance: Entrance) -> None:
    request = asked_with("Bearer gelöst-\u2603".encode())

    assert entrance.principal(request, Scope.INGEST).organisation_id == DEFAULT_ORGANISATION


@pytest.mark.parametrize("token", [b"gel\xf6st-\xff", b"gel", b"", b"\xff\xfe"])
def test_any_other_bytes_are_refused(entrance: Entrance, token: bytes) -> None:
    with pytest.raises(NotAuthenticated):
        entrance.principal(asked_with(b"Bearer " + token), Scope.INGEST)
