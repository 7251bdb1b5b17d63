"""What people are told: an event made readable, then written out for Discord, Telegram or a mail program.

Pure functions all the way: the transports beside this package make the requests.
"""

from tocsin.transports.messages.message import Field, Message, Template

__all__ = ["Field", "Message", "Template"]
