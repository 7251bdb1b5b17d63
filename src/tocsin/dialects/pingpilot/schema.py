"""What a PingPilot body must look like, and how its faults are told: in the words and the layout of zod 3.24.

Clients show these texts, and some parse them, so they are the same to the byte. The public npm package is the
oracle of the tests.
"""

from __future__ import annotations

import json
from typing import Any

from tocsin.core.javascript import listed

Issue = dict[str, Any]
"""One fault, its members in the order in which zod prints them."""

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_KNOWN_KEYS = frozenset({"category", "fields", "description"})
_ABSENT = object()


def issues_of(body: Any, *, field_issues_max: int) -> list[Issue]:
    """Return every fault of a decoded body, none for a good one.

    In order: the category's, the fields', the description's, then keys that are not known.

    Args:
        field_issues_max: how many values of ``fields`` are told; one takes over a kilobyte, so that telling all of a
            large body would answer a megabyte with a hundred.
    """
    if not isinstance(body, dict):
        return [_wrong_type("object", body, [])]
    issues = _category_issues(body.get("category", _ABSENT))
    if "fields" in body:
        issues += _fields_issues(body["fields"], field_issues_max)
    if "description" in body and not isinstance(body["description"], str):
        issues.append(_wrong_type("string", body["description"], ["description"]))
    if not body.keys() <= _KNOWN_KEYS:
        issues.append(_unknown_keys([key for key in listed(body) if key not in _KNOWN_KEYS]))
    return issues


def message_of(issues: list[Issue]) -> str:
    """Return the issues as JavaScript's ``JSON.stringify(issues, null, 2)`` prints them.

    Python's encoder escapes the same characters in the same way: quote, backslash and what is below U+0020.
    """
    return json.dumps(issues, indent=2, ensure_ascii=False)


def _category_issues(category: Any) -> list[Issue]:
    path = ["category"]
    if not isinstance(category, str):
        return [_wrong_type("string", category, path)]
    if category and _NAME_CHARACTERS.issuperset(category):
        return []
    issues: list[Issue] = []
    if not category:
        issues.append(
            {
                "code": "too_small",
                "minimum": 1,
                "type": "string",
                "inclusive": True,
                "exact": False,
                "message": "Category name is required.",
                "path": path,
            }
        )
    issues.append(
        {
            "validation": "regex",
            "code": "invalid_string",
            "message": "Category name can only contain letters, numbers or hypens.",
            "path": path,
        }
    )
    return issues


def _fields_issues(fields: Any, issues_max: int) -> list[Issue]:
    if not isinstance(fields, dict):
        return [_wrong_type("object", fields, ["fields"])]
    if all(isinstance(value, str | int | float) for value in fields.values()):
        return []
    wrong = [key for key in listed(fields) if not isinstance(fields[key], str | int | float)]
    return [_wrong_value(fields[key], ["fields", key]) for key in wrong[:issues_max]]


def _wrong_type(expected: str, received: Any, path: list[str]) -> Issue:
    name = _js_type(received)
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": name,
        "path": path,
        "message": "Required" if received is _ABSENT else f"Expected {expected}, received {name}",
    }


def _wrong_value(value: Any, path: list[str]) -> Issue:
    """Return the issue of a field's value: the schema is (string or number) or boolean, a union in a union."""
    string_or_number = _no_union([[_wrong_type("string", value, path)], [_wrong_type("number", value, path)]], path)
    return _no_union([[string_or_number], [_wrong_type("boolean", value, path)]], path)


def _no_union(alternatives: list[list[Issue]], path: list[str]) -> Issue:
    return {
        "code": "invalid_union",
        "unionErrors": [{"issues": issues, "name": "ZodError"} for issues in alternatives],
        "path": path,
        "message": "Invalid input",
    }


def _unknown_keys(keys: list[str]) -> Issue:
    shown = ", ".join(f"'{key}'" for key in keys)
    return {
        "code": "unrecognized_keys",
        "keys": keys,
        "path": [],
        "message": f"Unrecognized key(s) in object: {shown}",
    }


def _js_type(value: Any) -> str:
    names = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object"}
    if value is None:
        return "null"
    return names.get(type(value), "undefined")
