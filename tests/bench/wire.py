"""The requests of one job, as every contender makes them."""

from __future__ import annotations

import itertools
import json
import os

URL = os.environ.get("BENCH_URL", "")
TOKEN = os.environ.get("BENCH_TOKEN", "")
PEOPLE = json.loads(os.environ.get("BENCH_PEOPLE", "[]"))
CREATE = f"{URL}/kie/api/v1/jobs/createTask"
RECORD = f"{URL}/kie/api/v1/jobs/recordInfo?taskId="
HEADERS = {"Authorization": "Bearer bench"}
_serial = itertools.count(1)


def method(name: str) -> str:
    """Address of a Bot API method."""
    return f"{URL}/bot{TOKEN}/{name}"


def task() -> dict[str, object]:
    """The body of a new task."""
    fields = {
        "prompt": f"a red fox in snow, no. {next(_serial)}",
        "aspect_ratio": "1:1",
        "output_format": "png",
    }
    return {"model": "nano-banana-2-1", "input": fields}


def picture_of(record: dict[str, object]) -> str | None:
    """Address of the picture in a recordInfo answer, None while there is none."""
    data = record["data"]
    assert isinstance(data, dict)
    return json.loads(data["resultJson"])["resultUrls"][0] if data["state"] == "success" else None


def progress_of(record: dict[str, object]) -> float | None:
    """Progress in a recordInfo answer, 0 to 1."""
    data = record["data"]
    assert isinstance(data, dict)
    return data["progress"] / 100 if "progress" in data else None
