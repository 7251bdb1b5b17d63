"""Fixtures of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.commands import Shell, shell_for
from gateway import Gateway


@pytest.fixture
def shell(gateway: Gateway, tmp_path: Path) -> Shell:
    """A shell in a home of its own, with an organisation of its own."""
    return shell_for(gateway, tmp_path / "home")
