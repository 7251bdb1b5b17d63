"""The house rules that no other tool counts."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.core import errors
from tocsin.web.errors import STATUS, status_of

ROOT = Path(__file__).parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

_SOURCES = sorted(path for folder in ("src", "tests", "bench", "docs") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= FILE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


def test_every_error_has_a_status_of_its_own_or_of_its_parent() -> None:
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.TocsinError)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        status = status_of(kind("a detail"))
        assert (status == 500) == (kind is errors.TocsinError)
    assert set(STATUS.values()) <= set(range(400, 600))


def _generate(generator: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(generator), *options], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("generator", sorted((ROOT / "docs").glob("generate_*.py")), ids=lambda path: path.name)
def test_generated_docs_are_in_step(generator: Path) -> None:
    done = _generate(generator, "--check")
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_told_and_written_anew(tmp_path: Path) -> None:
    for name in ("generated.py", "generate_lifecycle.py"):
        shutil.copy(ROOT / "docs" / name, tmp_path)
    page, generator = tmp_path / "lifecycle.md", tmp_path / "generate_lifecycle.py"
    page.write_text("stale", "utf-8")
    checked = _generate(generator, "--check")
    assert (checked.returncode, checked.stderr) == (1, "lifecycle.md is stale: run make docs\n")
    assert page.read_text("utf-8") == "stale"
    assert _generate(generator).returncode == 0
    assert page.read_text("utf-8") == (ROOT / "docs" / "lifecycle.md").read_text("utf-8")


def test_the_lock_file_holds_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in text
    assert "--hash=sha256:" in text
