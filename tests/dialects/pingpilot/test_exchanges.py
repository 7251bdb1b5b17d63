"""PingPilot: every recorded exchange, against the running gateway."""

from __future__ import annotations

from pathlib import Path

import exchanges
from gateway import gateway_with


@exchanges.recorded(__file__)
def test_the_gateway_answers_as_recorded(path: Path, gateway: exchanges.Gateway) -> None:
    exchanges.play(path, gateway, gateway_with)
