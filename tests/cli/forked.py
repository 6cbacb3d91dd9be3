"""Runs `imagebot` many times for the price of one import: each command line in a fork of a process that has loaded it.

python -m tests.cli.forked < cases        one JSON list of [words, environment, folder]; answers are a list alike
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import tempfile
import traceback
from typing import Any

import tests.lazy_types  # noqa: F401  isort: skip
import src.api.app
import src.bot.process
import src.load.run
import src.local.demo
import src.ops.backup
import src.ops.doctor  # noqa: F401
from src.cli.main import main
from src.settings import settings_class

_SECONDS = 60


def run(words: list[str], env: dict[str, str], folder: str) -> dict[str, Any]:
    """The exit code and what was said."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if (child := os.fork()) == 0:
            code = 70
            try:
                signal.alarm(_SECONDS)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                os.chdir(folder)
                os.environ.clear()
                os.environ.update(env)
                sys.argv = ["imagebot", *words]
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "out": out.read(), "err": err.read()}


settings_class()
gc.freeze()

if __name__ == "__main__":
    print(json.dumps([run(*case) for case in json.load(sys.stdin)]))
