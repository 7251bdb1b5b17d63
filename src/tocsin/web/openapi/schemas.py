"""Words for JSON Schema (2020-12), and an example of what a schema describes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

Schema = dict[str, Any]
"""A JSON Schema."""

REF = "#/components/schemas/"
_EXAMPLE_HEX = "0190a5c4b2f87c3d9e1f2a3b4c5d6e7f"
_EXAMPLE_TIME = "2026-03-06T10:30:00.000Z"


def text(
    description: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
    pattern: str | None = None,
    example: str | None = None,
) -> Schema:
    """Return a string; bounds in characters, the pattern as ECMA-262 has it."""
    return _kept(
        type="string", description=description, minLength=least, maxLength=most, pattern=pattern, examples=example
    )


def whole(
    description: str = "",
    *,
    least: int | None = None,
    most: int | None = None,
    default: int | None = None,
    example: int | None = None,
) -> Schema:
    """Return an integer within these bounds, both included."""
    schema = _kept(type="integer", description=description, minimum=least, maximum=most, examples=example)
    return schema if default is None else {**schema, "default": default}


def number(
    description: str = "", *, least: float | None = None, most: float | None = None, example: float | None = None
) -> Schema:
    """Return a number within these bounds, both included."""
    return _kept(type="number", description=description, minimum=least, maximum=most, examples=example)


def flag(description: str = "", *, example: bool | None = None) -> Schema:
    """Return true or false."""
    return _kept(type="boolean", description=description, examples=example)


def one_of(words: Iterable[str], description: str = "", *, default: str | None = None) -> Schema:
    """Return one of these words, such as those of a ``StrEnum``."""
    schema = _kept(type="string", description=description)
    schema["enum"] = [str(word) for word in words]
    return schema if default is None else {**schema, "default": default}


def always(value: str | bool, description: str = "") -> Schema:
    """Return this one value."""
    return _kept(description=description) | {"const": value}


def time(description: str = "") -> Schema:
    """Return a time as RFC 3339 has it."""
    return {**text(description, example=_EXAMPLE_TIME), "format": "date-time"}


def identifier(prefix: str, description: str = "") -> Schema:
    """Return an id: a prefix, a line and 32 hex digits; without a prefix, the digits alone."""
    stem = f"{prefix}_" if prefix else ""
    return text(description, pattern=f"^{stem}[0-9a-f]{{32}}$", example=stem + _EXAMPLE_HEX)


def listed(items: Schema, description: str = "", *, least: int | None = None, most: int | None = None) -> Schema:
    """Return a list."""
    return {**_kept(type="array", description=description, minItems=least, maxItems=most), "items": items}


def record(
    members: Mapping[str, Schema],
    description: str = "",
    *,
    optional: Collection[str] = (),
    closed: bool = False,
    example: Any = None,
) -> Schema:
    """Return an object with these members.

    Args:
        optional: those that may be left out; ``"*"`` is all.
        closed: further members are refused, as most routes do with what they do not know.
    """
    assert "*" in optional or set(optional) <= members.keys(), f"not members: {set(optional) - members.keys()}"
    schema = {**_kept(type="object", description=description, examples=example), "properties": dict(members)}
    required = [] if "*" in optional else [name for name in members if name not in optional]
    if required:
        schema["required"] = required
    if closed:
        schema["additionalProperties"] = False
    return schema


def mapping(
    values: Schema | None = None, description: str = "", *, most: int | None = None, example: Any = None
) -> Schema:
    """Return an object whose members have names of the client's choice; without ``values`` they are anything."""
    schema = _kept(type="object", description=description, maxProperties=most, examples=example)
    return schema | {"additionalProperties": True if values is None else values}


def anything(description: str = "", *, example: Any = None) -> Schema:
    """Return any JSON value."""
    return _kept(description=description, examples=example)


def nullable(schema: Schema) -> Schema:
    """Return what a schema describes, or null."""
    if isinstance(schema.get("type"), str) and not schema.keys() & {"enum", "const"}:
        return {**schema, "type": [schema["type"], "null"]}
    described = {"description": schema["description"]} if "description" in schema else {}
    return {**described, "anyOf": [schema, {"type": "null"}]}


def either(*schemas: Schema, description: str = "", example: Any = None) -> Schema:
    """Return what at least one of these describes."""
    return _kept(description=description, examples=example) | {"anyOf": list(schemas)}


def ref(name: str) -> Schema:
    """Return the schema that a chapter keeps under this name."""
    return {"$ref": REF + name}


def _kept(**members: Any) -> Schema:
    """Return the members that say something; the one example becomes the list that JSON Schema has."""
    kept = {name: value for name, value in members.items() if value is not None and value != ""}
    if "examples" in kept:
        kept["examples"] = [kept["examples"]]
    return kept


# -- examples ----------------------------------------------------------------------------------------------

_PLAIN: dict[str, Any] = {"string": "text", "number": 1.5, "boolean": True, "null": None}


def sample(schema: Schema, known: Mapping[str, Schema]) -> Any:
    """Return an example of what a schema describes: its own, else one put together from those of its parts.

    Of an object's members those that are required are there, and those that have an example of their own.

    Args:
        known: the schemas that references name.
    """
    schema = resolved(schema, known)
    if "examples" in schema:
        return schema["examples"][0]
    for member in ("const", "default"):
        if member in schema:
            return schema[member]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], known)
    kind = schema.get("type", "object")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == "object":
        required = schema.get("required", ())
        return {
            name: sample(member, known)
            for name, member in schema.get("properties", {}).items()
            if name in required or "examples" in member
        }
    if kind == "array":
        return [sample(schema["items"], known)]
    return schema.get("minimum", 1) if kind == "integer" else _PLAIN[kind]


def resolved(schema: Schema, known: Mapping[str, Schema]) -> Schema:
    """Return a schema without its reference; what stands beside the reference narrows what it names."""
    while "$ref" in schema:
        named = known[schema["$ref"].removeprefix(REF)]
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**named, **beside}
        if "properties" in named and "properties" in beside:
            schema["properties"] = {**named["properties"], **beside["properties"]}
        if "required" in named and "required" in beside:
            schema["required"] = [*named["required"], *beside["required"]]
    return schema


# -- from Structs ------------------------------------------------------------------------------------------


def of_structs(*kinds: type) -> dict[str, Schema]:
    """Return the schemas of Structs that are decoded as they stand, and of what they refer to, by their names."""
    _, components = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
    # A default may be a tuple, which is no JSON value.
    components = msgspec.json.decode(msgspec.json.encode(components))
    return {name: _first_paragraph(schema) for name, schema in components.items()}


def _first_paragraph(schema: Schema) -> Schema:
    """Return a schema without its title, which is its name again, and without its docstring's further paragraphs."""
    shown = {name: value for name, value in schema.items() if name != "title"}
    if "description" in shown:
        shown["description"] = " ".join(shown["description"].partition("\n\n")[0].split())
    return shown
