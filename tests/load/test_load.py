"""A short load run through the real command: everything starts, people get pictures, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
async def test_a_short_run_loses_nothing_and_says_what_it_cost(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.cli", "load", "--users", "4", "--minutes", "0.2", "--heavy", "0"]
    command += ["--time-scale", "0.05", "--think", "10", "--json", "--data", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    said = f"{out.decode()[-2000:]}\n{err.decode()[-2000:]}"
    assert process.returncode == 0, said
    found = json.loads(out)
    assert found["outcomes"]["delivered"] > 0, said
    assert (found["lost"], found["doubled"], found["charged_twice"]) == (0, 0, 0), said
    assert found["polls_a_job"] > 0, said
    # What scripts call is listened to for a while, which in a run of seconds may be a quiet one.
    assert 0 <= found["commands_by_scripts"] < found["commands_a_job"]


async def test_a_folder_with_a_ledger_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    command = [sys.executable, "-m", "src.cli", "load", "--data", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 78
    assert err.decode().startswith("imagebot: --data:")
