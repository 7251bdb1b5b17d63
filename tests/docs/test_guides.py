"""Every guide's lines run as they stand, and print what the guide says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from docs import shell
from docs.pages import ROOT, blocks
from gateway import Gateway

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(
        not all(map(shutil.which, ("bash", "curl", "jq", "openssl"))), reason="needs bash, curl, jq and openssl"
    ),
]

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.stem))
def test_a_guides_lines_run_and_print_what_it_says(gateway: Gateway, page: Path, tmp_path: Path) -> None:
    told = blocks(page)
    variables = {
        "URL": gateway.base_url,
        "KEY": gateway.new_organisation()["key"],
        "RECEIVER": gateway.receiver_url,
        "WEBHOOK_URL": f"{gateway.receiver_url}/api/webhooks/1/token",
    }
    ran = shell.run(told, variables, tmp_path)
    assert ran, "a guide has lines to paste"
    shell.check(told, ran)


def test_there_is_a_guide_for_each_dialect() -> None:
    assert {page.stem for page in GUIDES} == {
        "buildable",
        "native",
        "nativeframe",
        "pingpilot",
        "promptjang",
        "pushgo",
    }


@pytest.mark.parametrize(
    ("wanted", "got", "agree"),
    [
        ("…", 7, True),
        ("…", None, False),
        ("evt_…", "evt_1", True),
        ("evt_…", "ep_1", False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
        (1, True, False),
    ],
)
def test_what_is_printed_is_compared(wanted: object, got: object, agree: bool) -> None:
    assert shell.agrees(wanted, got) is agree
