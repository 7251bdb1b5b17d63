"""The page's module lays out every operation of the document; it runs in Node, on a stage of our own."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from described import description, operations

STAGE = Path(__file__).with_name("page_stage.mjs")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what a reader of the page sees."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node to run the page's module")
    directory = tmp_path_factory.mktemp("page")
    document = directory / "openapi.json"
    document.write_text(json.dumps(description()))
    with as_file(files("tocsin.dialects.native").joinpath("page", "page.js")) as script:
        module = shutil.copy(script, directory / "page.mjs")
    done = subprocess.run(
        [node, str(STAGE), str(module), str(document)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_operation_is_shown_with_all_of_its_answers(page: Any) -> None:
    assert len(page["chapters"]) == len(description()["tags"])
    for method, path, operation in operations():
        text = page["shown"][operation["operationId"]]
        assert method in text
        assert path in text
        for status in operation["responses"]:
            assert status in text
        for parameter in operation.get("parameters", ()):
            assert parameter["name"] in text
        assert "undefined" not in text
        assert "[object" not in text


def test_every_operation_has_a_command_that_a_shell_understands(page: Any) -> None:
    for method, path, operation in operations():
        command = shlex.split(page["commands"][operation["operationId"]].replace("\\\n", ""))
        assert command[:3] == ["curl", "-X", method]
        assert "{" not in command[3]
        if "-d" in command:
            json.loads(command[command.index("-d") + 1])
        for way in operation["security"][:1]:
            assert sum("YOUR_" in word for word in command) == len(way), path


def test_the_search_finds_words_in_any_order_and_case(page: Any) -> None:
    found = page["found"]

    assert "native_post_api_v1_destinations_destination_id_rotate_secret" in found["both"]
    assert all("rotate" in each for each in found["both"])
    assert "pushgo_post_event_create" in found["code"]
    assert found["none"] == []
    assert len(found["all"]) == len(list(operations()))
