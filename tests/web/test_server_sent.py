"""The text of server-sent events, read back by the standard's rules."""

from __future__ import annotations

import pytest

from streams import Interpreter, Message
from tocsin.web import server_sent


def interpreted(text: bytes) -> tuple[list[Message], Interpreter]:
    """Return the messages of a text, and who read them."""
    interpreter = Interpreter()
    lines = text.decode().split("\n")
    assert lines.pop() == "", "it ends with a line end"
    found = [interpreter.feed(line) for line in lines]
    return [each for each in found if each is not None], interpreter


@pytest.mark.parametrize(
    "data", [b'{"a": 1}', b'{\n"a":\n1}', b'{\r\n"a":\r1\n\n}', b'{\r\r\n"a":1}\n', b'{"a":1 }', b' {"a":1}\r']
)
def test_data_of_many_lines_is_one_message(data: bytes) -> None:
    text = server_sent.message("pos_1", "event", data)
    assert b"\r" not in text
    messages, _ = interpreted(text)
    assert messages == [Message("pos_1", "event", {"a": 1})]


def test_a_position_alone_is_no_message_and_is_kept() -> None:
    text = server_sent.retry(1500) + server_sent.position("pos_1") + server_sent.KEEP_ALIVE
    messages, interpreter = interpreted(text)
    assert messages == []
    assert (interpreter.last_id, interpreter.retry_ms, len(interpreter.comments)) == ("pos_1", 1500, 1)
