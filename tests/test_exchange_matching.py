"""What the runner of recorded exchanges fills into a text, and what it takes for an expected answer."""

from __future__ import annotations

import pytest

from exchanges import Comparison
from exchanges.templates import UnknownTemplate, expand

NAMES = {"key": "tcs_live_1", "channel": "C1"}
NOW_MS = 1_700_000_000_123


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bearer {{key}}", "Bearer tcs_live_1"),
        ('{"a":{"b":"{{channel}}"}}', '{"a":{"b":"C1"}}'),
        ("{{repeat:ab:3}}", "ababab"),
        ("{{repeat:{::2}}1{{repeat:}:2}}", "{:{:1}}"),
        ('{{repeat:{"a"::2}}', '{"a":{"a":'),
        ("{{repeat: :2}}{{repeat:x:0}}", "  "),
        ("{{now_s}} {{now_s+60}} {{now_s-301}}", "1700000000 1700000060 1699999699"),
        ("{{now_ms}} {{now_ms-1}}", "1700000000123 1700000000122"),
        (
            "{{rfc3339}} {{rfc3339+0}} {{rfc3339-60}}",
            "2023-11-14T22:13:20Z 2023-11-14T22:13:20Z 2023-11-14T22:12:20Z",
        ),
        ("{{", "{{"),
        ('{"a":{"b":{}}}', '{"a":{"b":{}}}'),
    ],
)
def test_a_template_is_filled_in(text: str, expected: str) -> None:
    assert expand(text, NAMES, NOW_MS) == expected


@pytest.mark.parametrize("text", ["{{nothing}}", "{{now_h}}", "{{repeat:x}}", "{{repeat:x:y}}", "{{now_s+}}"])
def test_an_unknown_template_is_told_with_those_there_are(text: str) -> None:
    with pytest.raises(UnknownTemplate, match="channel, key"):
        expand(text, NAMES, NOW_MS)


# -- comparing ---------------------------------------------------------------------------------------------

HEX = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("", b"whatever"),
        ("<empty>", b""),
        ("404 page not found", b"404 page not found\n"),
        ("id: <hex32>, <re:[a-c]+>.", f"id: {HEX}, abc.".encode()),
        ("<re:a>+b>", b"a>b"),
        ("{}", b" { } "),
        ('{"a": 1, "b": [true, null]}', b'{"b":[true,null],"a":1}'),
        ('{"a": "<any>", "b": "<any>"}', b'{"a":null,"b":{"c":[]}}'),
        ('{"<*>": "<any>", "a": 1}', b'{"b":2,"a":1}'),
        ('["<int>", "<number>", "<number>", "<string>"]', b'[-1,2,2.5e3,""]'),
        ('["<hex32>", "<hex64>"]', f'["{HEX}","{HEX}{HEX}"]'.encode()),
        ('["<uuid>", "<evt>"]', f'["01234567-89ab-7def-8123-456789abcdef","evt_{HEX}"]'.encode()),
        ('["<time>", "<time>"]', b'["2026-05-26T12:00:00Z","2026-05-26T12:00:00.123+02:00"]'),
        ('"at <time> by <string>"', b'"at 2026-05-26T12:00:00Z by \\"me\\"\\n"'),
        ('"<re:[a-z]+\\\\.[0-9]+>"', b'"a.1"'),
        ('"1.5*(x)"', b'"1.5*(x)"'),
    ],
)
def test_what_is_as_expected_passes(expected: str, actual: bytes) -> None:
    comparison = Comparison()

    comparison.body(expected, actual)

    assert comparison.differences == []


@pytest.mark.parametrize(
    ("expected", "actual", "difference"),
    [
        ("<empty>", b"x", 'body: expected "<empty>", got "x"'),
        ("text", b"other", 'body: expected "text", got "other"'),
        ("1.5", b"115", "$: expected 1.5, got 115"),
        ('"1.5"', b'"115"', '$: expected "1.5", got "115"'),
        ("{}", b"", "body: expected JSON, got something else"),
        ("{}", b'{"a":1,"a":1}', "two members of one name"),
        ("[1]", b"[NaN]", "NaN is not JSON"),
        ("{}", b"\xff", "body: expected JSON, got something else"),
        ("{}", b"\xff\xfe{\x00}\x00", "body: expected JSON, got something else"),
        ('{"a": {"b": 1}}', b'{"a":{"b":2}}', "$.a.b: expected 1, got 2"),
        ('{"a": 1}', b"{}", "$: 'a' is missing"),
        ('{"a": "<any>"}', b"{}", "$: 'a' is missing"),
        ("{}", b'{"a":"x"}', "$: 'a' is not expected; its value is \"x\""),
        ('{"a": 1, "<*>": "<any>"}', b'{"b":1}', "$: 'a' is missing"),
        ("[1, 2]", b"[1]", "$: expected 2 elements, got 1"),
        ("[1, 2]", b"[2, 2]", "$[0]: expected 1, got 2"),
        ("[1]", b"[true]", "$[0]: expected 1, got true"),
        ("[true]", b"[1]", "$[0]: expected true, got 1"),
        ("[null]", b"[false]", "$[0]: expected null, got false"),
        ("[]", b"{}", "$: expected [], got {}"),
        ('["<int>"]', b"[true]", '$[0]: expected "<int>", got true'),
        ('["<int>"]', b"[1.5]", '$[0]: expected "<int>", got 1.5'),
        ('["<int>"]', b'["1"]', '$[0]: expected "<int>", got "1"'),
        ('["<number>"]', b"[null]", '$[0]: expected "<number>", got null'),
        ('["<string>"]', b"[1]", '$[0]: expected "<string>", got 1'),
        ('["<hex32>"]', f'["{HEX.upper()}"]'.encode(), '$[0]: expected "<hex32>"'),
        ('["<hex32>"]', f'["{HEX}0"]'.encode(), '$[0]: expected "<hex32>"'),
        ('["<uuid>"]', f'["{HEX}"]'.encode(), '$[0]: expected "<uuid>"'),
        ('["<evt>"]', f'["{HEX}"]'.encode(), '$[0]: expected "<evt>"'),
        ('["<time>"]', b'["2026-05-26 12:00:00"]', '$[0]: expected "<time>"'),
        ('["<re:a+>"]', b'["aab"]', '$[0]: expected "<re:a+>"'),
        ('["v<int>"]', b'["v1x"]', '$[0]: expected "v<int>"'),
    ],
)
def test_what_is_otherwise_is_told_with_its_place(expected: str, actual: bytes, difference: str) -> None:
    comparison = Comparison()

    comparison.body(expected, actual)

    assert len(comparison.differences) == 1
    assert difference in comparison.differences[0]


def test_every_difference_is_told_and_long_values_are_cut() -> None:
    comparison = Comparison()

    comparison.body('{"a": 1, "b": 2, "c": 3}', b'{"a":2,"b":2,"c":"%s"}' % (b"x" * 1000))

    assert len(comparison.differences) == 2
    assert comparison.differences[1].endswith("(1002 characters)")


def test_placeholders_capture_what_they_stood_for() -> None:
    comparison = Comparison()

    comparison.body(
        '{"a": "<int:count>", "b": "evt_<hex32:id> at <time:at>", "c": "<any:list>", "d": "<any:text>"}',
        f'{{"a":7,"b":"evt_{HEX} at 2026-05-26T12:00:00Z","c":[1],"d":"x"}}'.encode(),
    )

    assert comparison.differences == []
    assert comparison.captured == {
        "count": "7",
        "id": HEX,
        "at": "2026-05-26T12:00:00Z",
        "list": "[1]",
        "text": "x",
    }


# -- playing -----------------------------------------------------------------------------------------------
