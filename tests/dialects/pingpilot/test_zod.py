"""PingPilot's 422 texts against the public zod package: the same to the byte."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tocsin.dialects import strict_json
from tocsin.dialects.pingpilot.schema import issues_of, message_of

ORACLE = Path(__file__).parent / "zod"
GENERATED = 600

HAND_PICKED = [
    "{}",
    "[]",
    "null",
    "true",
    "0",
    '"bug"',
    '{"category":"bug"}',
    '{"category":"Bug-1","description":"","fields":{}}',
    '{"category":null}',
    '{"category":1}',
    '{"category":1.5}',
    '{"category":false}',
    '{"category":[]}',
    '{"category":{}}',
    '{"category":""}',
    '{"category":" "}',
    '{"category":"bug\\n"}',
    '{"category":"b\\u0000g"}',
    '{"category":"bü"}',
    '{"category":"bug","category":""}',
    '{"category":"","category":"bug"}',
    '{"category":"bug","description":null}',
    '{"category":"bug","description":3}',
    '{"category":"bug","fields":null}',
    '{"category":"bug","fields":[]}',
    '{"category":"bug","fields":"a"}',
    '{"category":"bug","fields":{"a":null}}',
    '{"category":"bug","fields":{"a":{"b":1},"c":[1],"d":1,"e":true,"f":"x"}}',
    '{"category":"bug","fields":{"a":null,"b":1,"a":2}}',
    '{"category":"bug","fields":{"b":null,"a":null,"b":[]}}',
    '{"category":"bug","fields":{"b":null,"10":null,"9":null,"01":null,"-1":null,"1.0":null,"":null,"0":null}}',
    '{"category":"bug","fields":{"z":{},"4294967295":{},"4294967294":{},"99999999999":{},"7":{}}}',
    '{"category":"bug","fields":{"\u0661":null,"²":null,"1":null}}',
    '{"category":"bug","fields":{"__proto__":null,"constructor":null,"toString":null}}',
    '{"category":"bug","fields":{"__proto__":"x"}}',
    '{"category":"bug","fields":{"n":-0,"big":123456789012345678901234567890,"small":1e-400,"e":1E21}}',
    '{"category":"bug","__proto__":{"category":"x"},"constructor":1}',
    '{"__proto__":{"category":"bug"}}',
    '{"category":"bug","toString":1,"hasOwnProperty":2,"length":3}',
    '{"category":"bug","z":1,"2":1,"1":1,"a":1}',
    '{"category":"bug","fields ":{},"Description":""}',
    '{"category":"bug","it\'s":1,"\\"q\\"":1,"back\\\\slash":1,"\\b\\f\\n\\r\\t\\u0001\\u007f\\u0080\\u2028\\u2029":1}',
    '{"category":"bug","fields":{"\\u0000\\u001f\\"\\\\é😀":null}}',
    '{"category":"","fields":{"a":null},"description":[],"extra":1,"another":2}',
    '{"extra":1,"description":1,"fields":1}',
]

_KEYS = st.one_of(
    st.sampled_from(
        ["category", "fields", "description", "__proto__", "constructor", "", "a", "é", "01", "4294967295"]
    ),
    st.integers(0, 2**33).map(str),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4), max_leaves=6
)
_CATEGORIES = st.one_of(
    st.sampled_from(["bug", "Bug-2", "", "a b", "bug\n"]), st.text("ab-_ é\n", max_size=4), _SCALARS
)
_BODIES = st.one_of(
    _VALUES,
    st.builds(
        lambda category, others: {"category": category, **others},
        _CATEGORIES,
        st.dictionaries(_KEYS, _VALUES | st.dictionaries(_KEYS, _VALUES, max_size=5), max_size=4),
    ),
)


def _generated_bodies() -> list[str]:
    """Return bodies that hypothesis made, the same in every run, so that one node process judges them all."""
    bodies: list[str] = []

    @settings(
        max_examples=GENERATED,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(_BODIES, st.booleans())
    def collect(body: Any, plain: bool) -> None:
        bodies.append(json.dumps(body, ensure_ascii=plain))

    collect()
    return bodies


@pytest.fixture(scope="module")
def zod(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], list[str | None]]:
    """Return a function that asks zod about many bodies: its text, "" for a good body, None where it is not JSON."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the zod oracle needs node and npm")
    home = tmp_path_factory.mktemp("zod")
    for name in ("package.json", "package-lock.json", ".npmrc", "oracle.mjs"):
        shutil.copy(ORACLE / name, home / name)
    installed = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    if installed.returncode != 0:
        pytest.skip(f"npm ci could not install the zod oracle: {installed.stderr.strip()[-300:]}")

    def ask(bodies: list[str]) -> list[str | None]:
        lines = "".join(json.dumps(body) + "\n" for body in bodies)
        answers = subprocess.run(
            [node, "oracle.mjs"], cwd=home, input=lines, capture_output=True, text=True, timeout=60, check=True
        )
        return [json.loads(line) for line in answers.stdout.rstrip("\n").split("\n")]

    return ask


def _ours(body: str) -> str:
    issues = issues_of(strict_json.decode(body.encode()), field_issues_max=1000)
    return message_of(issues) if issues else ""


def test_every_body_is_judged_and_told_as_zod_does(zod: Callable[[list[str]], list[str | None]]) -> None:
    bodies = HAND_PICKED + _generated_bodies()

    answers = zod(bodies)

    assert len(answers) == len(bodies) >= 600
    for body, answer in zip(bodies, answers, strict=True):
        assert _ours(body) == answer, body


def test_the_oracle_tells_good_bodies_from_bad_ones(zod: Callable[[list[str]], list[str | None]]) -> None:
    good, bad, broken = zod(['{"category":"bug"}', '{"category":1}', "{"])

    assert good == ""
    assert bad is not None
    assert bad.startswith("[\n  {\n    ")
    assert broken is None


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    lock = json.loads((ORACLE / "package-lock.json").read_text())

    package = lock["packages"]["node_modules/zod"]
    assert package["version"].startswith("3.24.")
    assert package["integrity"].startswith("sha512-")
    assert '"resolved"' not in (ORACLE / "package-lock.json").read_text()
