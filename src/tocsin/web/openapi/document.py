"""Chapters put together into one OpenAPI 3.1 document.

Source: the OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tocsin.web.openapi.model import Answer, Body, Chapter, Operation, Parameter
from tocsin.web.openapi.schemas import Schema, sample

_DESCRIPTION = """\
A self-hosted event gateway: applications post events in any of five published dialects, and each event is stored,
sent on to its destinations, and kept to be searched, replayed and consumed.

One API key serves every dialect. The word beside a route's security scheme is the scope that the key needs.

Of every route: HEAD is answered as GET is, without the body, unless the GET stores something; a method that a path
does not have is 405 with `Allow`; 429 and 503 say in `Retry-After`, in whole seconds, when to come again. What the
HTTP server refuses before any route is known (a head that is too large, too slow or malformed) has a status, 400,
408, 431, 501, 503 or 505, and no body. The limits in this document are the settings of the gateway that serves it."""

RESPONSES = "#/components/responses/"
_WORD = frozenset(string.ascii_letters + string.digits)


def document(chapters: Iterable[Chapter], *, version: str) -> dict[str, Any]:
    """Return the whole description of the API.

    Args:
        version: of the program.
    """
    chapters = list(chapters)
    schemas = _united(each.schemas for each in chapters)
    paths: dict[str, dict[str, Any]] = {}
    shared: dict[str, Any] = {}
    for chapter in chapters:
        for place, operation in chapter.operations.items():
            method, _, path = place.partition(" ")
            item = paths.setdefault(path, {})
            assert method.lower() not in item, f"{place} is described twice"
            item[method.lower()] = _operation(chapter, method, path, operation, schemas, shared)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Tocsin",
            "version": version,
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": each.name, "description": f"{each.title}: {each.description}", "x-displayName": each.title}
            for each in chapters
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": dict(sorted(shared.items())),
            "securitySchemes": _united(each.security_schemes for each in chapters),
        },
    }


def _united(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    united: dict[str, Any] = {}
    for part in parts:
        twice = united.keys() & part.keys()
        assert all(united[name] == part[name] for name in twice), f"two chapters differ in {sorted(twice)}"
        united.update(part)
    return united


def _operation(
    chapter: Chapter,
    method: str,
    path: str,
    operation: Operation,
    schemas: Mapping[str, Schema],
    shared: dict[str, Any],
) -> dict[str, Any]:
    """Return one operation; the errors that go without saying are put among ``shared``, since many have the same."""
    in_path = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    missing = [name for name in in_path if name not in chapter.path_parameters]
    assert not missing, f"the chapter {chapter.name} has no path_parameters for {missing} of {path}"
    parameters = [
        Parameter(name=name, place="path", required=True, schema=chapter.path_parameters[name]) for name in in_path
    ]
    described: dict[str, Any] = {
        "tags": [chapter.name],
        "operationId": _identifier(chapter.name, method, path),
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    if parameters or operation.parameters:
        described["parameters"] = [_parameter(each) for each in (*parameters, *operation.parameters)]
    if operation.body is not None:
        described["requestBody"] = _body(operation.body, schemas)
    answers = {status: _answer(answer, schemas) for status, answer in operation.answers.items()}
    described["responses"] = {
        str(status): answer
        for status, answer in sorted({**_errors(chapter, operation, schemas, shared), **answers}.items())
    }
    return {**described, "security": chapter.security(operation)}


def _identifier(name: str, method: str, path: str) -> str:
    words = "".join(character if character in _WORD else " " for character in path).split()
    return "_".join([name, method.lower(), *words])


def _errors(
    chapter: Chapter, operation: Operation, schemas: Mapping[str, Schema], shared: dict[str, Any]
) -> dict[int, dict[str, Any]]:
    everywhere = chapter.everywhere(operation)
    own = {
        status: _answer(chapter.error(status, tuple(dict.fromkeys((*everywhere.get(status, ()), *codes)))), schemas)
        for status, codes in operation.errors.items()
    }
    told: dict[int, dict[str, Any]] = {}
    for status, codes in everywhere.items():
        name = "_".join([chapter.name, str(status), *codes])
        if status not in operation.errors and status not in operation.answers:
            shared.setdefault(name, _answer(chapter.error(status, codes), schemas))
            told[status] = {"$ref": RESPONSES + name}
    return told | own


def _parameter(parameter: Parameter) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": parameter.name, "in": parameter.place}
    if parameter.description:
        shown["description"] = parameter.description
    if parameter.required:
        shown["required"] = True
    if parameter.schema.get("type") == "array":
        shown |= {"style": "form", "explode": False}
    return {**shown, "schema": parameter.schema}


def _body(body: Body, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {
        "description": f"At most {body.bytes_max:,} bytes.",
        "required": body.required,
        "content": {each.content_type: _media(each.schema, each.example, schemas) for each in (body, *body.also)},
    }


def _answer(answer: Answer, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    shown: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        shown["headers"] = {name: {"schema": schema} for name, schema in answer.headers.items()}
    content = {
        each.content_type: _media(each.schema, each.example, schemas)
        for each in (answer, *answer.also)
        if each.schema is not None
    }
    if content:
        shown["content"] = content
    return shown


def _media(schema: Schema, example: Any, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    return {"schema": schema, "example": sample(schema, schemas) if example is msgspec.UNSET else example}
