"""The account side of PingPilot: which people are told and how, the categories, the plan and what is used of it."""

from tocsin.pipeline.account.categories import Categories, category_source
from tocsin.pipeline.account.people import Account, Accounts, DiscordContact, EmailContact, TelegramContact, Usage

__all__ = [
    "Account",
    "Accounts",
    "Categories",
    "DiscordContact",
    "EmailContact",
    "TelegramContact",
    "Usage",
    "category_source",
]
