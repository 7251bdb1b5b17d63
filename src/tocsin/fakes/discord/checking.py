"""What Discord refuses of a message, told as Discord tells it: code 50035 and a tree of errors.

Sources: Discord's documentation, "Create Message", "Execute Webhook", "Embed limits", "Error messages"; the codes
beside the documented ones are those that public reports of refusals show.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

CONTENT_MAX = 2000
EMBEDS_MAX = 10
TITLE_MAX = 256
DESCRIPTION_MAX = 4096
FIELDS_MAX = 25
NAME_MAX = 256
VALUE_MAX = 1024
FOOTER_MAX = 2048
AUTHOR_MAX = 256
TOTAL_MAX = 6000
COLOR_MAX = 0xFFFFFF
URL_MAX = 2048

_MENTION_KINDS = ("everyone", "roles", "users")


class FormErrors:
    """The tree of errors, by the path of the member that is wrong."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}

    def add(self, path: tuple[str | int, ...], code: str, message: str) -> None:
        """Add an error."""
        at = self.tree
        for step in path:
            at = at.setdefault(str(step), {})
        at.setdefault("_errors", []).append({"code": code, "message": message})

    def body(self) -> dict[str, Any]:
        """Return the body of the answer."""
        return {"message": "Invalid Form Body", "code": 50035, "errors": self.tree}


def check_message(body: Any) -> dict[str, Any] | None:
    """Return the body of the refusal of a message, or None where it is taken.

    Args:
        body: the request's, decoded.
    """
    errors = FormErrors()
    if not isinstance(body, dict):
        errors.add((), "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return errors.body()
    _text(errors, ("content",), body.get("content"), CONTENT_MAX)
    _allowed_mentions(errors, body.get("allowed_mentions"))
    embeds = body.get("embeds")
    if isinstance(embeds, list):
        if len(embeds) > EMBEDS_MAX:
            errors.add(("embeds",), "BASE_TYPE_MAX_LENGTH", f"Must be {EMBEDS_MAX} or fewer in length.")
        for place, embed in enumerate(embeds[:EMBEDS_MAX]):
            _embed(errors, ("embeds", place), embed)
        if not errors.tree and sum(map(len, _counted(embeds))) > TOTAL_MAX:
            errors.add(("embeds",), "MAX_EMBED_SIZE_EXCEEDED", f"Embed size exceeds maximum size of {TOTAL_MAX}")
    elif embeds is not None:
        errors.add(("embeds",), "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    return errors.body() if errors.tree else None


def is_empty(content: str, embeds: list[Any]) -> bool:
    """Return whether a message that was taken shows nothing, which Discord refuses by another code."""
    return not content.strip() and not any(_shows(embed) for embed in embeds)


def _shows(embed: dict[str, Any]) -> bool:
    return any(
        value if not isinstance(value, str) else value.strip()
        for name, value in embed.items()
        if name not in ("color", "timestamp", "type", "url")
    )


def _embed(errors: FormErrors, at: tuple[str | int, ...], embed: Any) -> None:
    if not isinstance(embed, dict):
        errors.add(at, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return
    _text(errors, (*at, "title"), embed.get("title"), TITLE_MAX)
    _text(errors, (*at, "description"), embed.get("description"), DESCRIPTION_MAX)
    _url(errors, (*at, "url"), embed.get("url"))
    _color(errors, (*at, "color"), embed.get("color"))
    _timestamp(errors, (*at, "timestamp"), embed.get("timestamp"))
    for name, member, most in (("footer", "text", FOOTER_MAX), ("author", "name", AUTHOR_MAX)):
        part = _part(errors, (*at, name), embed.get(name))
        if part is not None:
            _text(errors, (*at, name, member), part.get(member), most, required=True)
    for name in ("image", "thumbnail"):
        part = _part(errors, (*at, name), embed.get(name))
        if part is not None:
            _url(errors, (*at, name, "url"), part.get("url"))
    _fields(errors, (*at, "fields"), embed.get("fields"))


def _part(errors: FormErrors, at: tuple[str | int, ...], value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    errors.add(at, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
    return None


def _fields(errors: FormErrors, at: tuple[str | int, ...], fields: Any) -> None:
    if fields is None:
        return
    if not isinstance(fields, list):
        errors.add(at, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if len(fields) > FIELDS_MAX:
        errors.add(at, "BASE_TYPE_MAX_LENGTH", f"Must be {FIELDS_MAX} or fewer in length.")
    for place, field in enumerate(fields[:FIELDS_MAX]):
        if not isinstance(field, dict):
            errors.add((*at, place), "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
            continue
        _text(errors, (*at, place, "name"), field.get("name"), NAME_MAX, required=True)
        _text(errors, (*at, place, "value"), field.get("value"), VALUE_MAX, required=True)
        if not isinstance(field.get("inline", False), bool):
            errors.add((*at, place, "inline"), "BOOLEAN_TYPE_CONVERT", "Must be either true or false.")


def _text(errors: FormErrors, at: tuple[str | int, ...], value: Any, most: int, *, required: bool = False) -> None:
    if value is None:
        if required:
            errors.add(at, "BASE_TYPE_REQUIRED", "This field is required")
    elif isinstance(value, dict | list):
        errors.add(at, "STRING_TYPE_CONVERT", f'Could not interpret "{value}" as string.')
    elif len(str(value).strip()) > most:
        errors.add(at, "BASE_TYPE_MAX_LENGTH", f"Must be {most} or fewer in length.")


def _color(errors: FormErrors, at: tuple[str | int, ...], value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        errors.add(at, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    elif value > COLOR_MAX:
        errors.add(at, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {COLOR_MAX}.")
    elif value < 0:
        errors.add(at, "NUMBER_TYPE_MIN", "int value should be greater than or equal to 0.")


def _timestamp(errors: FormErrors, at: tuple[str | int, ...], value: Any) -> None:
    if value is None:
        return
    try:
        datetime.fromisoformat(value)
        is_time = "T" in value
    except (TypeError, ValueError):
        is_time = False
    if not is_time:
        errors.add(at, "DATE_TIME_TYPE_PARSE", f"Could not parse {value}. Should be ISO8601.")


def _url(errors: FormErrors, at: tuple[str | int, ...], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or len(value) > URL_MAX or not value.isprintable() or " " in value:
        errors.add(at, "URL_TYPE_INVALID_URL", "Not a well formed URL.")
    elif not value.startswith(("http://", "https://", "attachment://")):
        scheme = value.partition("://")[0]
        errors.add(
            at,
            "URL_TYPE_INVALID_SCHEME",
            f"Scheme \"{scheme}\" is not supported. Scheme must be one of ('http', 'https').",
        )


def _allowed_mentions(errors: FormErrors, value: Any) -> None:
    allowed = _part(errors, ("allowed_mentions",), value)
    parse = None if allowed is None else allowed.get("parse")
    for place, kind in enumerate(parse if isinstance(parse, list) else ()):
        if kind not in _MENTION_KINDS:
            said = f"Value must be one of {set(_MENTION_KINDS)}."
            errors.add(("allowed_mentions", "parse", place), "BASE_TYPE_CHOICES", said)


def _counted(embeds: list[Any]) -> Iterator[str]:
    """Yield the texts whose lengths are summed over a message."""
    for embed in embeds:
        texts = [embed.get("title"), embed.get("description")]
        texts += [(embed.get(name) or {}).get(member) for name, member in (("footer", "text"), ("author", "name"))]
        for field in embed.get("fields") or ():
            texts += [field.get("name"), field.get("value")]
        yield from (str(text).strip() for text in texts if text is not None)
