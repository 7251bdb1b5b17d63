"""The OpenAPI document: it is one, and it says of every route what the program does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from described import description, faults_of, operations, response_of
from surface import OPEN, SURFACE, built_routes
from tocsin.bootstrap import load_settings
from tocsin.bootstrap.reference import openapi_document

ERRORS = Path(__file__).parent.parent.parent / "docs" / "errors.md"
PLACES = [f"{method} {path}" for method, path, _ in operations()]


def test_the_document_has_the_routes_of_the_router_and_no_others(tmp_path: Path) -> None:
    routed = {f"{route.method} {route.path}": route for route in built_routes(tmp_path)}

    undescribed = sorted(routed.keys() - set(PLACES))
    assert not undescribed, (
        f"These routes are not in the OpenAPI document: {undescribed}. Describe each by an Operation, under its "
        '"METHOD /path", in the module `describing` of its dialect\'s package (CONTRIBUTING.md, "A new route").'
    )
    gone = sorted(set(PLACES) - routed.keys())
    assert not gone, f"The OpenAPI document describes routes that are not there: {gone}. Remove their Operations."
    for method, path, operation in operations():
        route = routed[f"{method} {path}"]
        assert operation["tags"] == [route.name], f"{method} {path} is described by another dialect's chapter"
        if "requestBody" in operation:
            told = f"At most {route.body_limit_bytes:,} bytes."
            assert operation["requestBody"]["description"] == told, f"{method} {path} has another limit"


def test_it_is_an_openapi_document() -> None:
    OpenAPIV31SpecValidator(description()).validate()


@pytest.mark.parametrize("mounted", SURFACE, ids=str)
def test_it_tells_the_scope_that_a_key_needs(mounted: Any) -> None:
    operation = description()["paths"][mounted.path][mounted.method.lower()]

    told = {scope for way in operation["security"] for scopes in way.values() for scope in scopes}

    assert told == (set() if mounted.scope == OPEN else {mounted.scope})


def _examples() -> Iterator[tuple[str, dict[str, Any], Any]]:
    for method, path, operation in operations():
        place = f"{method} {path}"
        for parameter in operation.get("parameters", ()):
            for example in parameter["schema"].get("examples", ()):
                yield f"{place} {parameter['name']}", parameter["schema"], example
        contents = {"body": operation.get("requestBody", {}).get("content", {})}
        for status in operation["responses"]:
            contents[status] = (response_of(operation, int(status)) or {}).get("content", {})
        for which, content in contents.items():
            for kind, media in content.items():
                yield f"{place} {which} {kind}", media["schema"], media["example"]
    for name, schema in description()["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            yield name, schema, example


def test_every_example_is_what_its_schema_describes() -> None:
    examples = list(_examples())
    assert len(examples) > len(PLACES)

    wrong = {
        place: faults for place, schema, example in examples if (faults := faults_of(schema, example, closed=True))
    }

    assert not wrong, json.dumps(wrong, indent=1)


def test_every_code_is_one_of_the_documented_errors() -> None:
    documented = {
        re.compile(each.replace("*", "[a-z_]+"))
        for each in re.findall(r"^\| `([a-z_*]+)` \|", ERRORS.read_text(), re.MULTILINE)
    }
    codes: set[str] = set()

    def gather(schema: Any) -> None:
        for member in ("code", "error_code", "errorCode"):
            codes.update(each for each in schema.get("properties", {}).get(member, {}).get("enum", ()) if each)

    for _, _, operation in operations():
        for status in operation["responses"]:
            for media in (response_of(operation, int(status)) or {}).get("content", {}).values():
                gather(media["schema"])

    assert len(codes) > 50
    unknown = sorted(each for each in codes if not any(pattern.fullmatch(each) for pattern in documented))
    assert not unknown, f"docs/errors.md has no {unknown}"


def test_its_limits_are_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_NATIVE_PAGE_MAX", "17")

    document = openapi_document(load_settings(data=tmp_path))

    parameters = document["paths"]["/api/v1/deliveries"]["get"]["parameters"]
    (limit,) = (each["schema"]["maximum"] for each in parameters if each["name"] == "limit")
    assert limit == 17
