"""PingPilot's schema without the oracle: layout, order and the bound on what is told."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tocsin.dialects.pingpilot.schema import issues_of, message_of

SCALARS = st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()


@given(st.from_regex(r"[a-zA-Z0-9-]+", fullmatch=True), st.dictionaries(st.text(), SCALARS), st.text())
def test_a_good_body_has_no_issues(category: str, fields: dict[str, object], description: str) -> None:
    body = {"category": category, "fields": fields, "description": description}

    assert issues_of(body, field_issues_max=1) == []


def test_the_text_is_laid_out_as_javascript_prints_it() -> None:
    issues = issues_of({"category": "bug", "é\n'": 1}, field_issues_max=1)

    assert message_of(issues) == (
        "[\n"
        "  {\n"
        '    "code": "unrecognized_keys",\n'
        '    "keys": [\n'
        '      "é\\n\'"\n'
        "    ],\n"
        '    "path": [],\n'
        '    "message": "Unrecognized key(s) in object: \'é\\n\'\'"\n'
        "  }\n"
        "]"
    )


def test_issues_come_in_the_order_of_the_schema() -> None:
    body = {"extra": 1, "description": None, "fields": {"b": None, "1": None}, "category": ""}

    issues = issues_of(body, field_issues_max=100)

    assert [(issue["code"], issue["path"]) for issue in issues] == [
        ("too_small", ["category"]),
        ("invalid_string", ["category"]),
        ("invalid_union", ["fields", "1"]),
        ("invalid_union", ["fields", "b"]),
        ("invalid_type", ["description"]),
        ("unrecognized_keys", []),
    ]


def test_no_more_faulty_fields_are_told_than_the_bound() -> None:
    fields = {f"f{number:06}": None for number in range(100_000)}

    at_bound = issues_of({"category": "bug", "fields": dict(list(fields.items())[:100])}, field_issues_max=100)
    beyond = issues_of({"category": "bug", "fields": fields, "extra": 1}, field_issues_max=100)

    assert len(at_bound) == 100
    assert beyond[:100] == at_bound
    assert [issue["code"] for issue in beyond[100:]] == ["unrecognized_keys"]
    assert len(message_of(beyond)) < 250_000


def test_a_boolean_is_a_value_but_no_text() -> None:
    issues = issues_of({"category": True, "fields": {"a": True}}, field_issues_max=1)

    assert json.dumps(issues) == (
        '[{"code": "invalid_type", "expected": "string", "received": "boolean", "path": ["category"], '
        '"message": "Expected string, received boolean"}]'
    )
