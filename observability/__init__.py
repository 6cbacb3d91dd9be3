"""OpenTelemetry for a process: `setup` starts it, the instrumentations are modules of their own.

Importing this package imports none of them, so that each, `observability.dramatiq` for one, needs only what it
instruments. `observability.setup` is `observability.telemetry`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from observability.telemetry import Telemetry, setup

__all__ = ["Telemetry", "setup"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from observability import telemetry

    return getattr(telemetry, name)
