"""The page that shows what arrived, as a person would see it."""

from tocsin.fakes.page.server import Page

__all__ = ["Page"]
