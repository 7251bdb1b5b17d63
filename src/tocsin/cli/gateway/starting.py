"""Starting what runs until a signal, and telling why it cannot start."""

from __future__ import annotations

import sys
from typing import Any

from tocsin.cli.exits import STORE, USAGE
from tocsin.cli.gateway.options import fail


def start(**flags: Any) -> None:
    """Run the gateway until a signal, and end the program with its status.

    Args:
        flags: as ``running.run`` takes them.
    """
    from tocsin.cli.gateway.running import run  # noqa: PLC0415  imports the whole program
    from tocsin.cli.group import forget_client_variables  # noqa: PLC0415
    from tocsin.engine.rows import EngineRefused  # noqa: PLC0415
    from tocsin.settings import SettingsFault  # noqa: PLC0415

    forget_client_variables()
    try:
        status = run(**flags)
    except SettingsFault as error:
        fail(USAGE, str(error))
    except EngineRefused as error:
        fail(STORE, str(error))
    if status:
        sys.exit(status)
