"""`imagebot`, and `python -m src.cli`: it can be interrupted from its first moment on, as loading takes one."""

from __future__ import annotations

import signal


def main() -> None:
    """Load the command and run it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Ends at once; `src.cli.main` listens again.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from src.cli.main import main as imagebot

    imagebot()


if __name__ == "__main__":
    main()
