"""Every setting, route, metric and error code that the documentation names exists, and each that exists is named."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT, name_of, prose, quoted
from surface import SURFACE
from tocsin.bootstrap import LIMITS
from tocsin.settings import FOR_TESTS, settings_model
from tocsin.telemetry import Metrics
from tocsin.telemetry.instruments import Instrument, Spread, Tally

every_page = pytest.mark.parametrize("page", PAGES, ids=name_of)

DOCS = ROOT / "docs"
_VARIABLE = re.compile(r"TOCSIN_[A-Z0-9_]*[A-Z0-9](?![A-Z0-9]|_\*)")
"""``TOCSIN_STREAM_*`` is a group, which has no name of its own."""
_ROUTE = re.compile(r"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[^ ?]*)(?:\?.*)?")


def text_of(page: Path) -> str:
    return page.read_text("utf-8")


@cache
def settings() -> frozenset[str]:
    return frozenset(f"TOCSIN_{name.upper()}" for name in settings_model(LIMITS).model_fields)


@cache
def series() -> frozenset[str]:
    """Return every series of ours, as Prometheus sees it."""
    found: set[str] = set()
    for each in Metrics().registry._collector_to_names:
        if isinstance(each, Tally):
            found.add(f"{each.name}_total")
        elif isinstance(each, Spread):
            found |= {each.name, *(f"{each.name}_{part}" for part in ("bucket", "sum", "count"))}
        elif isinstance(each, Instrument):
            found.add(each.name)
    return frozenset(found)


# -- settings ----------------------------------------------------------------------------------------------


def other_variables() -> set[str]:
    """Return the variables that are no settings: options of commands, and what sources and tests read by name."""
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    literal = {name for path in sources for name in re.findall(rf'"({_VARIABLE.pattern})"', text_of(path))}
    return literal | set(_VARIABLE.findall(text_of(DOCS / "cli.md")))


OTHER_VARIABLES = other_variables()


@every_page
def test_every_variable_that_is_named_exists(page: Path) -> None:
    for name in _VARIABLE.findall(text_of(page)):
        assert name in settings() | OTHER_VARIABLES or name.startswith(FOR_TESTS), f"{name} is no setting"


def test_every_setting_is_documented() -> None:
    assert sorted(settings() - set(_VARIABLE.findall(text_of(DOCS / "settings.md")))) == []


# -- metrics -----------------------------------------------------------------------------------------------


@every_page
def test_every_metric_that_is_named_exists(page: Path) -> None:
    for name in quoted(prose(page)):
        if re.fullmatch(r"tocsin_[a-z_]+", name) and not name.startswith("tocsin_sender_process_"):
            assert name in series(), f"{name} is no metric"


# -- routes ------------------------------------------------------------------------------------------------


def routes_of(page: Path) -> set[str]:
    """Return the routes that a page names in backticks."""
    found = (_ROUTE.fullmatch(text) for text in quoted(prose(page)))
    return {f"{each[1]} {each[2]}" for each in found if each is not None}


def form(route: str) -> str:
    """Return a route whatever its parameters are called."""
    return re.sub(r"\{[^}]*\}|<[^>]*>|(?<=/):\w+", "{}", route)


MOUNTED = {form(str(each)) for each in SURFACE}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent.name != "decisions" and page.name != "CHANGELOG.md"], ids=name_of
)
def test_every_route_that_is_named_exists(page: Path) -> None:
    for route in routes_of(page):
        method, _, path = form(route).partition(" ")
        assert f"{method} {path}" in MOUNTED or (method == "HEAD" and f"GET {path}" in MOUNTED), (
            f"{route} is no route"
        )


def test_every_route_is_documented() -> None:
    named = {
        form(route) for page in [*(DOCS / "guides").glob("*.md"), DOCS / "telemetry.md"] for route in routes_of(page)
    }
    assert sorted(MOUNTED - named) == []


# -- error codes -------------------------------------------------------------------------------------------


@every_page
def test_every_error_code_that_is_named_exists(page: Path) -> None:
    known = quoted(text_of(DOCS / "errors.md"))
    patterns = [re.compile(code.replace("*", "[a-z_]+")) for code in known if re.fullmatch(r"[a-z_*]+", code)]
    for code in re.findall(r"\b[45]\d\d `([a-z]+_[a-z_]+)`", prose(page)):
        assert any(pattern.fullmatch(code) for pattern in patterns), f"{code} is no error code"
