"""What a dialect says of one route, and of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from tocsin.core import errors
from tocsin.core.errors import TocsinError
from tocsin.core.organisation import Scope
from tocsin.web.errors import STATUS
from tocsin.web.openapi.schemas import Schema

JSON = "application/json"

Codes = Mapping[int, tuple[str, ...]]
"""The codes of errors, by their statuses."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter of a query, a path, or a header; a list in a query has commas between its elements."""

    name: str
    schema: Schema
    description: str = ""
    place: Literal["query", "path", "header"] = "query"
    required: bool = False


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """What a request carries.

    Attributes:
        bytes_max: the route's limit.
        also: the same of another content type; the limit is this one's.
        example: left out, it is put together from the schema.
    """

    schema: Schema
    bytes_max: int
    required: bool = True
    content_type: str = JSON
    also: tuple[Body, ...] = ()
    example: Any = msgspec.UNSET


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of one status.

    Attributes:
        schema: of the body; None is no body.
        headers: what the dialect's every answer does not have, by their names.
        also: the same of another content type.
        example: left out, it is put together from the schema.
    """

    description: str
    schema: Schema | None = None
    content_type: str = JSON
    headers: Mapping[str, Schema] = {}
    also: tuple[Answer, ...] = ()
    example: Any = msgspec.UNSET


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One route.

    Attributes:
        summary: a few words in the imperative.
        description: what the schemas cannot say, in Markdown's plainest form: paragraphs and ``code``.
        scope: what a key needs; None is a route that anybody may ask.
        parameters: of query and headers; those of the path are the chapter's.
        answers: of success, by their statuses, and those errors that have a body of another form.
        errors: the codes that this route has beyond those of ``codes_everywhere``.
    """

    summary: str
    answers: Mapping[int, Answer]
    description: str = ""
    scope: Scope | None = None
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    errors: Codes = {}


class Chapter(msgspec.Struct, frozen=True, kw_only=True):
    """All that one dialect says.

    Attributes:
        name: the dialect's, as its routes have it.
        operations: by ``"POST /event/create"``, the path as the route has it.
        path_parameters: by their names in the paths.
        schemas: what ``ref`` names; a name belongs to one chapter.
        security_schemes: as OpenAPI has them.
        security: what a request of an operation must show; each of the mappings is enough.
        error: tells how an error of this status looks, with which of these codes.
        everywhere: the codes of an operation that go without saying.
    """

    name: str
    title: str
    description: str
    operations: Mapping[str, Operation]
    security: Callable[[Operation], list[dict[str, list[str]]]]
    error: Callable[[int, tuple[str, ...]], Answer]
    everywhere: Callable[[Operation], Codes]
    path_parameters: Mapping[str, Schema] = {}
    schemas: Mapping[str, Schema] = {}
    security_schemes: Mapping[str, dict[str, Any]] = {}


def codes_everywhere(operation: Operation) -> Codes:
    """Return the codes that any route of this kind may answer with: one with a scope, one with a body."""
    kinds: list[type[TocsinError]] = [TocsinError, errors.Unavailable]
    codes: dict[int, tuple[str, ...]] = {}
    if operation.scope is not None:
        kinds += [errors.NotAuthenticated, errors.RateLimited]
        codes[403] = ("missing_scope",)
    if operation.parameters or operation.body is not None:
        kinds.append(errors.InvalidRequest)
    if operation.body is not None:
        kinds += [errors.MalformedBody, errors.RequestTimeout, errors.PayloadTooLarge, errors.UnsupportedMediaType]
    for kind in kinds:
        status = next(STATUS[each] for each in kind.__mro__ if each in STATUS)
        codes[status] = (*codes.get(status, ()), kind.code)
    return codes
