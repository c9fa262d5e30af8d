"""dp-accounting, imported when it is first needed: it takes seconds, and is an extra."""

import logging
from functools import cache
from importlib import import_module
from typing import Any

from phalanx.core.errors import ConfigError


@cache
def dp_accounting() -> Any:
    """The package dp_accounting.

    Raises: ConfigError naming the extra if it is not installed.
    """
    try:
        library = import_module("dp_accounting")
    except ModuleNotFoundError:
        raise ConfigError("Counting privacy needs the package dp-accounting: pip install 'phalanx[privacy]'") from None
    # It warns of every order of RDP that it leaves out, which only makes the bound larger.
    logging.getLogger("absl").setLevel(logging.ERROR)
    return library
