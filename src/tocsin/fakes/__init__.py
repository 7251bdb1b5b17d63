"""Fakes of what people are told by: Discord, Telegram's Bot API and a mail server, and a page that shows what came.

Real servers on ports of this machine, for tests, for the demo, and for ``tocsin dev fakes``. What they take and
refuse is what the real ones do, as far as that is public; scripts make them fail::

    async with fakes.Discord() as discord:
        discord.script(fakes.Answer(status=429, retry_after=1.5))
        ...
        assert discord.messages[0].embeds[0]["title"] == "..."
"""

from tocsin.fakes.arrivals import Received
from tocsin.fakes.discord import Discord, DiscordMessage, Rate
from tocsin.fakes.house import Fakes, Ports, running
from tocsin.fakes.page import Page
from tocsin.fakes.script import Answer, BadScript
from tocsin.fakes.smtp import Mail, Smtp
from tocsin.fakes.telegram import Telegram, TelegramMessage

__all__ = [
    "Answer",
    "BadScript",
    "Discord",
    "DiscordMessage",
    "Fakes",
    "Mail",
    "Page",
    "Ports",
    "Rate",
    "Received",
    "Smtp",
    "Telegram",
    "TelegramMessage",
    "running",
]
