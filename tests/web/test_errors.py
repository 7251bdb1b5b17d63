"""Errors become answers: one table of statuses, whole seconds to wait, and a page that lists every code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin.core import errors
from tocsin.core.errors import MalformedBody, RateLimited, TocsinError, Unavailable
from tocsin.core.incident import IncidentRefusal
from tocsin.dialects.native.errors import PRECONDITION_FAILED
from tocsin.dialects.nativeframe.faults import FaultCode
from tocsin.pipeline.vault import SealBroken
from tocsin.web.errors import STATUS, retry_after, status_of
from tocsin.web.http import MethodNotAllowed

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "src" / "tocsin"
PAGE = ROOT / "docs" / "errors.md"
IN_TABLES = {*FaultCode, *IncidentRefusal, PRECONDITION_FAILED, "op_id_conflict", "server_busy"}
"""Codes that the sources do not call ``code`` where they name them."""


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidRequest, 400),
        (errors.MalformedBody, 400),
        (errors.NotAuthenticated, 401),
        (errors.NotPermitted, 403),
        (errors.NotFound, 404),
        (MethodNotAllowed, 405),
        (errors.RequestTimeout, 408),
        (errors.Conflict, 409),
        (errors.PayloadTooLarge, 413),
        (errors.UnsupportedMediaType, 415),
        (errors.Unprocessable, 422),
        (errors.RateLimited, 429),
        (errors.QuotaExhausted, 429),
        (errors.TocsinError, 500),
        (SealBroken, 500),
        (errors.Unavailable, 503),
    ],
)
def test_a_kind_of_error_has_its_status(kind: type[TocsinError], status: int) -> None:
    assert status_of(kind("a detail")) == status


def test_the_status_is_that_of_the_nearest_kind_with_one() -> None:
    class Stranger(MalformedBody):
        """A kind that the table does not have."""

    assert Stranger not in STATUS
    assert status_of(Stranger("a detail")) == 400


@pytest.mark.parametrize(
    ("wait_s", "header"), [(None, None), (0.0, b"1"), (0.2, b"1"), (1.0, b"1"), (1.01, b"2"), (3600.0, b"3600")]
)
def test_what_passes_says_in_whole_seconds_when_to_come_again(wait_s: float | None, header: bytes | None) -> None:
    expected = [] if header is None else [(b"retry-after", header)]
    assert retry_after(RateLimited("slow down", retry_after_s=wait_s)) == expected


def test_a_code_is_the_kinds_own_unless_it_is_given() -> None:
    assert Unavailable("later").code == "unavailable"
    given = Unavailable("later", code="busy", fields=(("a", "b"),))
    assert (given.code, given.detail, given.fields, str(given)) == ("busy", "later", (("a", "b"),), "later")
    assert Unavailable("later").code == "unavailable"


# -- the page of codes -------------------------------------------------------------------------------------


def codes_in(tree: ast.AST) -> Iterator[str]:
    """Return every code that a source names: ``code=`` and ``error_code=`` of a call, and assignments to such.

    What stands in for a part of one is a star.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("code", "error_code"):
            yield from _texts(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {each.id if isinstance(each, ast.Name) else getattr(each, "attr", "") for each in targets}
            if names & {"code", "error_code"}:
                yield from _texts(node.value)


def _texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in value.values)


def test_the_page_lists_every_code_and_no_other() -> None:
    in_the_code = IN_TABLES | {
        code for path in SOURCES.rglob("*.py") for code in codes_in(ast.parse(path.read_text("utf-8"))) if code
    }
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    on_the_page = [code for code, _ in rows]
    assert len(on_the_page) == len(set(on_the_page)), "a code is listed twice"
    assert set(on_the_page) == in_the_code
    assert all(meaning.strip() for _, meaning in rows)


@pytest.mark.parametrize("code", ["Upper", "with-dash", "with space", "ünicode"])
def test_a_code_is_lower_case_with_underscores(code: str) -> None:
    pattern = re.compile(r"[a-z0-9*]+(_[a-z0-9*]+)*")
    assert not pattern.fullmatch(code)
    for path in SOURCES.rglob("*.py"):
        for each in codes_in(ast.parse(path.read_text("utf-8"))):
            assert not each or pattern.fullmatch(each), f"{path}: {each}"
