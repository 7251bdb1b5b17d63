"""Buildable: every recorded exchange, against the running gateway."""

from __future__ import annotations

from pathlib import Path

import exchanges
from stores import Store


@exchanges.recorded(__file__)
def test_the_gateway_answers_as_recorded(path: Path, gateway: exchanges.Gateway, store: Store) -> None:
    exchanges.play(path, gateway, store.gateway_with)
