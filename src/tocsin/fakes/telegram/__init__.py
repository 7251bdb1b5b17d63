"""Telegram's Bot API: sending and changing texts, and the updates by which a bot learns of its users."""

from tocsin.fakes.telegram.server import Telegram, TelegramMessage

__all__ = ["Telegram", "TelegramMessage"]
