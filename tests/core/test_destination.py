"""Which events a destination gets."""

from __future__ import annotations

from typing import Any

import pytest

from tocsin.core.destination import SECRET_ADDRESS_FIELDS, Filter, Transport, globs_of, matches
from tocsin.core.event import Dialect, Severity

EVENT: dict[str, Any] = {
    "dialect": Dialect.PUSHGO,
    "source": "pushgo/channel/1",
    "type": "order.paid",
    "subject": "order-7",
    "severity": Severity.HIGH,
}


def test_an_empty_filter_lets_everything_pass() -> None:
    assert matches(Filter(), **EVENT)
    assert matches(Filter(), **(EVENT | {"subject": None, "severity": None}))


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [
        (Filter(dialects=(Dialect.PUSHGO,)), True),
        (Filter(dialects=(Dialect.BUILDABLE, Dialect.PUSHGO)), True),
        (Filter(dialects=(Dialect.BUILDABLE,)), False),
        (Filter(sources=("pushgo/*",)), True),
        (Filter(sources=("pushgo",)), False),
        (Filter(types=("order.*", "x")), True),
        (Filter(types=("order.pai?",)), True),
        (Filter(types=("order.[op]aid",)), True),
        (Filter(types=("order.[!op]aid",)), False),
        (Filter(types=("ORDER.*",)), False),
        (Filter(types=("order",)), False),
        (Filter(types=("paid",)), False),
        (Filter(subjects=("order-?",)), True),
        (Filter(subjects=("order-??",)), False),
        (Filter(severities=(Severity.HIGH,)), True),
        (Filter(severities=(Severity.LOW, Severity.CRITICAL)), False),
        (Filter(types=("order.*",), severities=(Severity.LOW,)), False),
        (Filter(types=("order.*",), sources=("*",), subjects=("*",), dialects=(Dialect.PUSHGO,)), True),
    ],
)
def test_all_conditions_must_hold_and_any_value_of_each(wanted: Filter, passes: bool) -> None:
    assert matches(wanted, **EVENT) is passes


@pytest.mark.parametrize("wanted", [Filter(subjects=("*",)), Filter(severities=tuple(Severity))])
def test_what_an_event_lacks_matches_no_condition(wanted: Filter) -> None:
    assert not matches(wanted, **(EVENT | {"subject": None, "severity": None}))


def test_a_filter_tells_its_globs() -> None:
    assert globs_of(Filter(sources=("a", "b*"), types=("c?", "d"), subjects=("[e]",))) == ["b*", "c?", "[e]"]
    assert globs_of(Filter(dialects=(Dialect.PUSHGO,), where="a[*]")) == []


def test_every_transport_says_what_is_secret_in_its_address() -> None:
    assert set(SECRET_ADDRESS_FIELDS) == set(Transport)
