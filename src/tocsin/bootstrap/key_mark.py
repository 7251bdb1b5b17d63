"""Whether the key that a process was given is the one that the installation's secrets are sealed with."""

from __future__ import annotations

import os
from hashlib import blake2b
from itertools import islice

from tocsin.bootstrap.configuration import SECRET_KEY_FILE
from tocsin.core.destination import Destination
from tocsin.core.errors import Conflict, Unavailable
from tocsin.core.organisation import KeyMark
from tocsin.pipeline.catalog import Catalog
from tocsin.pipeline.vault import SealBroken, Vault
from tocsin.settings import SettingsFault

_DIGEST_BYTES = 16
_CHECKED_SECRETS_MAX = 3
"""One alone might be damaged by itself."""


async def check_key(key: bytes, catalog: Catalog) -> None:
    """Return if the key is the one that this installation uses; the first one that it is given is noted in the store.

    With another one every delivery would fail, and expire in the end; of two processes with different keys each could
    open only what it sealed.

    Raises:
        SettingsFault: it is another key.
    """
    vault = Vault(key, os.urandom)
    sealed = (each for each in catalog.all_destinations() if each.secrets or each.sealed_address is not None)
    some = list(islice(sealed, _CHECKED_SECRETS_MAX))
    if some and not any(_opens(vault, each) for each in some):
        raise SettingsFault(
            "this is not the key that the stored secrets were sealed with; set TOCSIN_SECRET_KEY to that one, or "
            f"restore {SECRET_KEY_FILE}"
        )
    if await _mark(key, catalog) != _digest(key):
        raise SettingsFault(
            "this is not the key that this installation was first started with, by this process or another one; set "
            f"TOCSIN_SECRET_KEY to that one, or restore {SECRET_KEY_FILE}"
        )


async def _mark(key: bytes, catalog: Catalog) -> bytes:
    """Return the digest of the key that was noted first."""
    found = catalog.find_key_mark()
    if found is None:
        try:
            await catalog.save(KeyMark(digest=_digest(key)))
        except Conflict:
            # Another process started at the same moment.
            await catalog.refresh()
        except Unavailable:
            # A store that takes no writes now, as on a full disk, is still one to read from.
            return _digest(key)
        found = catalog.find_key_mark()
        assert found is not None
    return found.digest


def _digest(key: bytes) -> bytes:
    return blake2b(key=key, person=b"tocsin-key-mark", digest_size=_DIGEST_BYTES).digest()


def _opens(vault: Vault, destination: Destination) -> bool:
    try:
        vault.target(destination)
    except SealBroken:
        return False
    return True
