"""Fixtures that several directories of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway import Gateway, gateway_with


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    """A gateway with default settings, shared by all tests that make their own organisation."""
    with gateway_with({}) as running:
        yield running
