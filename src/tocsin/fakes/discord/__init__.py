"""Discord's webhooks and the part of its bot API that sends messages."""

from tocsin.fakes.discord.rates import Rate
from tocsin.fakes.discord.server import Discord, DiscordMessage

__all__ = ["Discord", "DiscordMessage", "Rate"]
