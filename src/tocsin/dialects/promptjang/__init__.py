"""PromptJang: signed webhook ingest, delivery with retries, list, get and replay."""

from tocsin.dialects.promptjang.dialect import PromptJang
from tocsin.dialects.promptjang.limits import PromptJangLimits

__all__ = ["PromptJang", "PromptJangLimits"]
