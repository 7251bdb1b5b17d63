"""Profiles: gateways with their keys, by name, in a file that only its owner can read."""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tocsin.cli.client.choices import Choices
from tocsin.cli.exits import USAGE
from tocsin.cli.faults import Failure

DEFAULT_URL = "http://127.0.0.1:8080"
"""Where ``tocsin serve`` listens by default."""

_NAME_CHARACTERS_MAX = 64
_SHOWN_KEY_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class Profile:
    """A gateway and the key for it."""

    url: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Profiles:
    """The whole file.

    Attributes:
        current: name of the one in use when no other is asked for.
    """

    current: str | None = None
    named: dict[str, Profile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The gateway that a command talks to.

    Attributes:
        profile: name of the profile that the URL came from, or None.
    """

    url: str
    key: str | None
    profile: str | None


def choose(choices: Choices) -> Chosen:
    """Return gateway and key: from the command line, else from the environment, else from the profile in use.

    A profile asked for on the command line counts before the environment. A profile's key goes to the profile's URL
    and to no other.

    Raises:
        Failure: the profile is unknown, or the file unreadable.
    """
    kept = read()
    name = choices.get("profile") or kept.current
    profile = None if name is None else kept.named.get(name)
    if profile is None and name is not None:
        raise Failure(USAGE, f"there is no profile {name}; tocsin profile list shows those there are")
    flags = choices.flags
    variables = {} if "profile" in flags else choices.variables
    url = flags.get("url") or variables.get("url") or (profile.url if profile else DEFAULT_URL)
    key = flags.get("key") or variables.get("key")
    from_profile = profile is not None and url.rstrip("/") == profile.url.rstrip("/")
    if key is None and profile is not None and from_profile:
        key = profile.key
    return Chosen(url, key, name if from_profile else None)


def path() -> Path:
    """Return where the file is: ``tocsin/config.toml`` in the user's directory of settings.

    Source: XDG Base Directory Specification, which has relative paths ignored.
    """
    given = os.environ.get("XDG_CONFIG_HOME", "")
    home = Path(given) if given and Path(given).is_absolute() else Path.home() / ".config"
    return home / "tocsin" / "config.toml"


def read() -> Profiles:
    """Return what the file holds; without a file, nothing.

    Raises:
        Failure: it cannot be read, or is not what ``write`` makes.
    """
    place = path()
    try:
        told = tomllib.loads(place.read_text("utf-8"))
        current = _text(told, "current")
        named = {name: _profile(given) for name, given in told.get("profile", {}).items()}
    except FileNotFoundError:
        return Profiles()
    except OSError as error:
        raise Failure(USAGE, f"{place} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise Failure(USAGE, f"{place} is no file of profiles ({error}); mend it or move it away") from error
    return Profiles(current, named)


def write(profiles: Profiles) -> Path:
    """Replace the file, readable by its owner alone; return where it is.

    Raises:
        Failure: it cannot be written.
    """
    place = path()
    lines = [] if profiles.current is None else [f"current = {_toml(profiles.current)}\n"]
    for name, profile in profiles.named.items():
        lines.append(f"\n[profile.{_toml(name)}]\nurl = {_toml(profile.url)}\n")
        if profile.key is not None:
            lines.append(f"key = {_toml(profile.key)}\n")
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write("".join(lines))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise Failure(USAGE, f"{place} cannot be written: {error.strerror}") from error
    return place


def with_profile(profiles: Profiles, name: str, profile: Profile, *, use: bool) -> Profiles:
    """Return the profiles with this one added or replaced.

    Raises:
        Failure: the name has other characters than letters, digits, dots, dashes and underscores.
    """
    plain = name.replace("-", "").replace("_", "").replace(".", "")
    if not plain.isalnum() or not name.isascii() or len(name) > _NAME_CHARACTERS_MAX:
        raise Failure(USAGE, "a profile's name has letters, digits, dots, dashes and underscores, 64 at most")
    current = name if use or profiles.current is None else profiles.current
    return Profiles(current, profiles.named | {name: profile})


def without_profile(profiles: Profiles, name: str) -> Profiles:
    """Return the profiles without this one, none of them in use if it was it."""
    named = {each: profile for each, profile in profiles.named.items() if each != name}
    return replace(profiles, named=named, current=None if profiles.current == name else profiles.current)


def masked(key: str | None) -> str | None:
    """Return what of a key may be shown: its kind and its last characters."""
    if key is None:
        return None
    kind = next((kind for kind in ("tcs_live_", "tcs_test_") if key.startswith(kind)), "")
    shown = key[-_SHOWN_KEY_CHARACTERS:] if len(key) >= 8 * _SHOWN_KEY_CHARACTERS else ""
    return f"{kind}...{shown}"


def _profile(given: Any) -> Profile:
    unknown = sorted(set(given) - {"url", "key"})
    if unknown:
        raise ValueError(f"{unknown[0]} is not known")
    url = _text(given, "url")
    if url is None:
        raise ValueError("a profile has no url")
    return Profile(url, _text(given, "key"))


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{name} is no text")


def _toml(text: str) -> str:
    """Return a basic string; JSON's escapes are TOML's, but for DEL, which no name, URL or key may have."""
    return json.dumps(text, ensure_ascii=False)
