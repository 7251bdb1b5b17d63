"""What a search for a text has to look for in a JSON document."""

from __future__ import annotations

import json

import pytest

from tocsin.core.spelling import Sought, fold, fold_document, spellings


def found(text: str, document: str) -> bool:
    as_text = any(each in fold(document) for each in spellings(text))
    assert Sought(text).stands_in(fold_document(document.encode())) is as_text
    return as_text


def test_a_plain_text_has_one_spelling() -> None:
    assert spellings("Order-001 99.5") == ("order-001 99.5",)


def test_only_ascii_letters_are_folded() -> None:
    assert fold("AZ[`az{ÄÉß") == "az[`az{ÄÉß"


@pytest.mark.parametrize(
    "text",
    ["Zürich", "a/b", 'say "hi"', "back\\slash", "line\nbreak", "\x01", "<b>&", "日本", "😀", "a\u2028b", 'é/"<\t'],
)
def test_a_text_is_found_as_the_usual_encoders_write_it(text: str) -> None:
    documents = [
        json.dumps({"name": text}),
        json.dumps({"name": text}, ensure_ascii=False),
        json.dumps({"name": text}).replace("/", "\\/"),
        json.dumps({"name": text}, ensure_ascii=False).replace("<", "\\u003c").replace("&", "\\u0026"),
    ]
    documents[3] = documents[3].replace(">", "\\u003E").replace("\u2028", "\\u2028")
    assert [found(text, each) for each in documents] == [True] * 4


def test_a_text_is_also_found_as_it_stands() -> None:
    assert found('"Status":"paid"', '{"status":"PAID"}')
    assert not found('"status": "paid"', '{"status":"paid"}')


@pytest.mark.parametrize("text", ["é/<", '"', "x" * 200])
def test_the_spellings_are_few_and_none_comes_twice(text: str) -> None:
    assert len(set(spellings(text))) == len(spellings(text)) <= 9
