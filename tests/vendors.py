"""The vendors' own clients, which hold our stand-ins to the original."""

from __future__ import annotations

import importlib
from typing import Any


class Vendor:
    """A large package, imported when something of it is used: every process of the tests collects all files."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest asks whether this is a test
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
