"""Scripts: what a fake answers to the next requests instead of what it would have answered."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

import msgspec

SCRIPTED_MAX = 1_000
"""How many answers a script may hold."""
DELAY_S_MAX = 600.0

_LINE = re.compile(r"[ -~]*")
_STAGES = ("mail", "rcpt", "data")


class BadScript(ValueError):
    """A script that cannot be followed; the text says what is wrong."""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one request gets. Without a status it is answered as usual, once the delay is over.

    Attributes:
        status: 400 to 599; of HTTP, or of SMTP.
        delay_s: how long the request waits first.
        down: the connection is cut, and nothing is answered.
        message: of the answer, in place of the usual text for the status.
        retry_after: of a 429, in seconds.
        is_global: of Discord's 429: it counts for all requests, not for this bucket alone.
        code: Discord's own code of the error.
        html: the answer is a page and no JSON, as from a proxy in front of the remote; a 429 then lacks ``Via``.
        migrate_to_chat_id: of Telegram's 400: the group is a supergroup now, of this id.
        stage: of a mail, where it is refused: ``mail``, ``rcpt`` or ``data``.
        recipient: of a mail: only this recipient is refused, in the next mail that is to it; the stage is then
            ``rcpt``.
    """

    status: int | None = None
    delay_s: float = 0.0
    down: bool = False
    message: str | None = None
    retry_after: float = 1.0
    is_global: bool = msgspec.field(default=False, name="global")
    code: int | None = None
    html: bool = False
    migrate_to_chat_id: int | None = None
    stage: str = "rcpt"
    recipient: str | None = None

    def __post_init__(self) -> None:
        if self.status is not None and not 400 <= self.status <= 599:
            raise BadScript("status must be from 400 to 599")
        if not 0 <= self.delay_s <= DELAY_S_MAX or not 0 <= self.retry_after <= DELAY_S_MAX:
            raise BadScript(f"delay_s and retry_after must be from 0 to {DELAY_S_MAX:.0f}")
        if self.stage not in _STAGES:
            raise BadScript(f"stage must be one of {', '.join(_STAGES)}")
        if self.message is not None and _LINE.fullmatch(self.message) is None:
            raise BadScript("message must be one line of ASCII")

    @property
    def refuses(self) -> bool:
        """Whether it takes the place of the usual answer."""
        return self.status is not None or self.migrate_to_chat_id is not None


NATURAL = Answer()
"""What a request gets that the script says nothing of."""


class Script:
    """The answers to come, one for each request."""

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()

    def __len__(self) -> int:
        return len(self._answers)

    def add(self, answers: Iterable[Answer]) -> None:
        """Append answers.

        Raises:
            BadScript: there would be too many.
        """
        added = list(answers)
        if len(self._answers) + len(added) > SCRIPTED_MAX:
            raise BadScript(f"a script holds {SCRIPTED_MAX} answers at most")
        self._answers.extend(added)

    def clear(self) -> None:
        """Forget all that is still to come."""
        self._answers.clear()

    def next(self) -> Answer:
        """Take the next answer, or ``NATURAL`` where there is none."""
        return self._answers.popleft() if self._answers else NATURAL

    def next_for(self, recipient: str | None) -> Answer:
        """Take the next answer for one recipient of a mail, or for any with None; ``NATURAL`` where there is none."""
        for place, answer in enumerate(self._answers):
            if answer.recipient == recipient:
                del self._answers[place]
                return answer
        return NATURAL
