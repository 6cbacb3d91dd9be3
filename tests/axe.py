"""axe-core on a page of the browser: what keeps people from using it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from tests.browser import Page

# What fades in has too little contrast until it is there.
_STILL = (
    "Promise.all(document.getAnimations().filter((a) => a.effect.getComputedTiming().iterations !== Infinity)"
    ".map((a) => a.finished.catch(() => null))).then(() => true)"
)
_SCRIPT = files("axe_core_python").joinpath("axe.min.js")


async def serious(page: Page) -> list[str]:
    """The findings of axe that are serious or critical, each with where it is."""
    if not await page.run("Boolean(window.axe)"):
        await page.run(f"{_SCRIPT.read_text('utf-8')}; true")
    await page.run(_STILL)
    found: dict[str, Any] = json.loads(
        await page.run("axe.run(document, {resultTypes: ['violations']}).then((r) => JSON.stringify(r))")
    )
    return [
        f"{finding['id']}: {node['target']} {node.get('failureSummary', '')}"
        for finding in found["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"]
    ]
