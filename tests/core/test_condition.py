"""Conditions on an event's data: what they mean, what is wrong with one, and that none takes more than its share."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.condition import ConditionFailed, Evaluation, read_condition

ORDER = {
    "amount": 120,
    "currency": "EUR",
    "paid": False,
    "zero": 0,
    "nothing": None,
    "empty": {"text": "", "list": [], "object": {}},
    "items": [{"price": 5, "tags": ["a"]}, {"price": 50}],
    "big": 12345678901234567890123,
}


def evaluation(data: Any, *, steps_max: int = 10_000, event_steps_max: int = 20_000) -> Evaluation:
    return Evaluation(json.dumps(data).encode(), steps_max=steps_max, event_steps_max=event_steps_max)


def holds(expression: str, data: Any = ORDER) -> bool:
    return evaluation(data).holds(read_condition(expression))


def failure(expression: str, data: Any = ORDER) -> str:
    with pytest.raises(ConditionFailed) as caught:
        holds(expression, data)
    return caught.value.reason


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("amount > `100` && currency == 'EUR'", True),
        ("amount > `100` && currency == 'USD'", False),
        ("amount < `100` || currency == 'EUR'", True),
        ("!paid", True),
        ("items[?price > `10`]", True),
        ("items[?price > `100`]", False),
        ("items[].tags[] | contains(@, 'a')", True),
        ("items[*].price | max(@) == `50`", True),
        ("sort_by(items, &price)[-1].price == `50`", True),
        ("items[:1] | length(@) == `1`", True),
        ("contains(currency, 'E')", True),
        ("starts_with(currency, 'X')", False),
        ("join('-', ['a', currency]) == 'a-EUR'", True),
        ("big == `12345678901234567890123`", True),
        ("currency < 'F'", True),
        ("'F' < currency", False),
        ("currency < `3`", False),
        ("paid < `3`", False),
        ("items == items", True),
        ("paid == `0`", False),
    ],
)
def test_an_expression_means_what_jmespath_says(expression: str, expected: bool) -> None:
    assert holds(expression) is expected


@pytest.mark.parametrize("value", ["paid", "nothing", "missing", "empty.text", "empty.list", "empty.object"])
def test_false_null_and_what_is_empty_are_no_match(value: str) -> None:
    assert not holds(value)
    assert holds(f"!({value})")


@pytest.mark.parametrize("value", ["zero", "amount", "currency", "items", "@", "`0.0`", "['']"])
def test_all_else_is_a_match_0_too(value: str) -> None:
    assert holds(value)


@pytest.mark.parametrize("data", [None, 1, "text", [], True])
def test_data_of_any_kind_can_be_asked(data: Any) -> None:
    assert not holds("a.b[?c == 'd']", data)
    assert holds("@ == @", data)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "is empty"),
        ("a[", "is not a whole JMESPath expression: it ends too early (at character 3)"),
        ("a b", "is not a JMESPath expression: unexpected 'b' (at character 3)"),
        ("a = b", "is not a JMESPath expression: cannot read '=' (at character 3)"),
        ("$.a == 1", "is not a JMESPath expression: cannot read '$' (at character 1)"),
        ("a && foo(b)", "calls foo(), which is not a function of JMESPath (at character 6)"),
        ("length(a, b)", "calls length() with 2 arguments instead of 1 (at character 1)"),
        ("b || length()", "calls length() with 0 arguments instead of 1 (at character 6)"),
        ("merge()", "calls merge() with 0 arguments instead of 1 (at character 1)"),
        ("sort_by(a, b)", "calls sort_by() without & before its expression (at character 1)"),
        ("&a", "has an & where no expression is taken (at character 1)"),
        ("a || &b", "has an & where no expression is taken (at character 6)"),
        ("not_null(&a)", "has an & where no expression is taken (at character 10)"),
        ("a == `nope`", "holds a literal between backticks that is not JSON; texts stand between single quotes"),
        ("(" * 1000, "is nested too deeply"),
        ("!" * 1000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_with_an_expression_is_told_with_its_place(expression: str, fault: str) -> None:
    condition = read_condition(expression)
    assert condition.fault == fault
    with pytest.raises(ConditionFailed):
        evaluation({}).holds(condition)


def test_the_depth_is_that_of_the_tree() -> None:
    assert read_condition("a").depth == 1
    assert read_condition("!a").depth == 2
    assert read_condition("!" * 60 + "a").depth == 61


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("length(missing)", "length() does not take a value of type null"),
        ("sum(items)", "sum() does not take a value of type dict"),
        ("items[::0]", "the expression cannot be evaluated on these data (ValueError)"),
        ("contains('text', amount)", "the expression cannot be evaluated on these data (TypeError)"),
        ("ceil(to_number('inf'))", "the expression cannot be evaluated on these data (OverflowError)"),
    ],
)
def test_an_expression_without_a_value_fails_and_shows_nothing_of_the_data(expression: str, reason: str) -> None:
    assert failure(expression) == reason


def test_data_that_are_no_json_fail() -> None:
    with pytest.raises(ConditionFailed):
        Evaluation(b"{", steps_max=100, event_steps_max=100).holds(read_condition("a"))


# -- bounds ------------------------------------------------------------------------------------------------

LARGE = {"a": [1] * 200_000, "s": "1" * 1_000_000, "deep": [[[1] * 50] * 50] * 50}

DOUBLING = "'x'" + "|[@,@]" * 18
"""A quarter of a million texts, all of them the same one."""


@pytest.mark.parametrize(
    "expression",
    [
        "@" + "|[@,@][]" * 120,
        f"{DOUBLING}|to_string(@)",
        f"[{DOUBLING}]|[@[0], {DOUBLING}]|[0]==[1]",
        f"[{DOUBLING}]|contains(@, [{DOUBLING}]|[0])",
        "[" + "a," * 300 + "a][]",
        "map(&`[" + "1," * 400 + "1]`, a)[]",
        "a[?@ == `2`]",
        "a[*].b",
        "a[].b",
        "a[:]",
        "sort(a)",
        "sum(a)",
        "max_by(a, &@)",
        "a == a",
        "deep == deep",
        "to_string(@)",
        "to_number(s)",
        "reverse(s)",
        "contains(s, 'x')",
        "s == s",
        f"join(s, [{'s,' * 100}s])",
        f"join('{'x' * 500}', a[:5000] | map(&'y', @))",
    ],
)
def test_an_expression_that_would_take_long_is_stopped(expression: str) -> None:
    assert failure(expression, LARGE) == "evaluating the expression takes too many steps"


def test_what_a_list_would_become_is_counted_before_it_is_made() -> None:
    asked = evaluation(LARGE)
    assert asked.holds(read_condition("a[0]"))
    tracemalloc.start()
    try:
        with pytest.raises(ConditionFailed):
            asked.holds(read_condition("[" + "a," * 30 + "a][]"))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_what_touches_little_of_large_data_is_cheap() -> None:
    cheap = evaluation(LARGE, steps_max=20)
    for expression in ("a[0] == `1`", "deep[1][1][1]", "s", "a[-3:]", "s != 'x'"):
        assert cheap.holds(read_condition(expression))


def test_one_step_less_than_needed_is_too_few() -> None:
    condition = read_condition("items[*].price")
    needed = next(steps for steps in range(100) if _suffices(condition.expression, steps))
    assert needed > 2
    assert all(_suffices(condition.expression, steps) for steps in range(needed, 100))


def _suffices(expression: str, steps: int) -> bool:
    try:
        return evaluation(ORDER, steps_max=steps).holds(read_condition(expression))
    except ConditionFailed:
        return False


def test_all_conditions_of_an_event_share_a_budget() -> None:
    shared = evaluation(ORDER, steps_max=100, event_steps_max=100)
    condition = read_condition("items[*].price")
    needed = next(steps for steps in range(100) if _suffices(condition.expression, steps))
    assert all(shared.holds(condition) for _ in range(100 // needed))
    with pytest.raises(ConditionFailed):
        shared.holds(condition)


def test_a_condition_that_runs_out_leaves_the_others_theirs() -> None:
    shared = evaluation(LARGE, steps_max=1000, event_steps_max=2000)
    with pytest.raises(ConditionFailed):
        shared.holds(read_condition("a[*].b"))
    assert shared.holds(read_condition("a[0]"))


_WORDS = [*"ab.[]()*?&|!=<>@`'\"{}:,01-\\", "&&", "||", "==", "[?", "[]", "[0]", "[:1]", ".*", "`1`", "'x'", "`[1]`"]
_WORDS += [f"{name}(" for name in ("length", "contains", "sort_by", "to_string", "join", "sum", "values", "max_by")]
_WORDS += ["map(&", "not_null(", "merge(", "keys(", "reverse("]
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
)


@given(st.lists(st.sampled_from(_WORDS), max_size=14).map("".join), _DATA)
def test_whatever_is_written_is_a_fault_or_can_be_asked(expression: str, data: Any) -> None:
    condition = read_condition(expression)
    asked = evaluation(data, steps_max=1000)
    if condition.fault is not None:
        assert "\n" not in condition.fault
        return
    try:
        found = asked.holds(condition)
    except ConditionFailed:
        return
    try:
        plain = jmespath.search(expression, data)
    except TypeError:
        return  # two values without an order, where the specification has null
    assert found is (plain not in ("", [], {}, None) and plain is not False)
