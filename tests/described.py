"""The document of a gateway with default settings, and what it says of one exchange."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from jsonschema import Draft202012Validator, FormatChecker

from tocsin.bootstrap import load_settings
from tocsin.bootstrap.reference import openapi_document
from tocsin.web.openapi import schemas

METHODS = ("get", "post", "put", "patch", "delete")
_FORMATS = FormatChecker(("date-time",))
_SHOWN_MAX = 300
_SHOWN_FAULTS_MAX = 5


@cache
def description() -> Any:
    """Return the document, decoded from its JSON."""
    with TemporaryDirectory() as directory:
        return json.loads(json.dumps(openapi_document(load_settings(data=Path(directory)))))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of every operation."""
    for path, item in description()["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def response_of(operation: Mapping[str, Any], status: int) -> dict[str, Any] | None:
    """Return what an operation says of an answer of this status, or None when nothing."""
    found: dict[str, Any] | None = operation["responses"].get(str(status))
    if found is None or "$ref" not in found:
        return found
    shared: dict[str, Any] = description()["components"]["responses"][found["$ref"].rpartition("/")[2]]
    return shared


# -- schemas -----------------------------------------------------------------------------------------------


def faults_of(schema: dict[str, Any], value: Any, *, closed: bool = False) -> list[str]:
    """Return what is wrong with a value by a schema of the document.

    Args:
        closed: whether members that the schema does not name are faults, although it lets them pass.
    """
    faults = _validator(json.dumps(schema), closed).iter_errors(value)
    return [f"{each.json_path}: {each.message[:_SHOWN_MAX]}" for each in faults][:_SHOWN_FAULTS_MAX]


@cache
def _validator(schema: str, closed: bool) -> Draft202012Validator:
    return Draft202012Validator(_expanded(json.loads(schema), closed=closed), format_checker=_FORMATS)


def _expanded(schema: Any, *, closed: bool) -> Any:
    """Return a schema with its references resolved, so that an object can be closed with all its members."""
    if isinstance(schema, list):
        return [_expanded(each, closed=closed) for each in schema]
    if not isinstance(schema, dict):
        return schema
    schema = schemas.resolved(schema, description()["components"]["schemas"])
    inside = {
        name: value if name in ("examples", "default", "enum", "const") else _expanded(value, closed=closed)
        for name, value in schema.items()
        if name != "properties"
    }
    if "properties" in schema:
        inside["properties"] = {name: _expanded(each, closed=closed) for name, each in schema["properties"].items()}
        if closed:
            inside.setdefault("additionalProperties", False)
    return inside


# -- exchanges ---------------------------------------------------------------------------------------------


class Answered(Protocol):
    """An answer; header names in lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> dict[str, str]: ...

    @property
    def body(self) -> bytes: ...


def differences(
    method: str, target: str, sent_headers: Sequence[tuple[str, str]], sent_body: bytes, answer: Answered
) -> list[str]:
    """Return in what an exchange differs from the document: an answer, and a request that was accepted.

    Nothing is said of a path or a method that is no route.
    """
    parts = urlsplit(target)
    operation = _operation("GET" if method == "HEAD" else method, parts.path)
    if operation is None or answer.status == 405:
        return []
    response = response_of(operation, answer.status)
    if response is None:
        return [f"the OpenAPI document has no answer {answer.status} for {operation['operationId']}"]
    found = [] if method == "HEAD" else _answer_differences(response, answer.headers.get("content-type"), answer.body)
    if answer.status < 300:
        found += _request_differences(operation, parts.query, dict(sent_headers), sent_body)
    return [f"the OpenAPI document of {operation['operationId']} says otherwise: {each}" for each in found]


def _operation(method: str, path: str) -> dict[str, Any] | None:
    """Return the description of the route that a request belongs to; one without parameters comes first."""
    wanted = path.split("/")
    templates = sorted(description()["paths"], key=lambda each: "{" in each)
    for template in templates:
        steps = template.split("/")
        if len(steps) == len(wanted) and all(
            (step.startswith("{") and given) or step == given for step, given in zip(steps, wanted, strict=True)
        ):
            found: dict[str, Any] | None = description()["paths"][template].get(method.lower())
            return found
    return None


def _answer_differences(response: Mapping[str, Any], content_type: str | None, body: bytes) -> list[str]:
    content = response.get("content", {})
    if not content:
        return ["the answer has a body"] if body else []
    if content_type not in content:
        return [f"the answer's content type is {content_type}"]
    schema = content[content_type]["schema"]
    value = json.loads(body) if content_type == "application/json" else body.decode()
    return [f"answer {each}" for each in faults_of(schema, value, closed=True)]


def _request_differences(
    operation: Mapping[str, Any], query: str, headers: Mapping[str, str], body: bytes
) -> list[str]:
    described = operation.get("parameters", ())
    given = dict(parse_qsl(query, keep_blank_values=True))
    given_headers = {name.lower(): value for name, value in headers.items()}
    found = []
    for each in described:
        held = given_headers if each["in"] == "header" else given
        name = each["name"].lower() if each["in"] == "header" else each["name"]
        if each["in"] != "path" and name in held:
            # What it writes may be meant as a text or as what the text spells.
            readings = [held[name].split(",")] if each.get("explode") is False else [held[name], _typed(held[name])]
            faults = [faults_of(each["schema"], value) for value in readings]
            found += [f"{each['in']} {name} {fault}" for fault in min(faults, key=len)]
    content = operation.get("requestBody", {}).get("content", {})
    kind = given_headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind in content and body.strip() and ("content-type" in given_headers or _is_json(body)):
        found += [f"request {each}" for each in faults_of(content[kind]["schema"], json.loads(body))]
    return found


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _typed(text: str) -> Any:
    """Return a parameter as the value that it writes, where it writes a number or true or false."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
