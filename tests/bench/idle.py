"""How long a message takes on an idle system, from the chat to the provider's acceptance, and where.

    python -m tests.bench.idle --messages 40

Messages come one after another, each when the picture before it is in its chat. The provider and Telegram
are the sandbox on this machine, so their own time and the network's are next to nothing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from aiohttp import web
from aiohttp.typedefs import Handler

from src.jobs.estimate import quantile
from tests.system import System

_QUIET = 0.5
# Nothing may be done for the first time while it is measured.
_WARM = 3


async def _measure(messages: int) -> str:
    accepted: list[float] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.path.endswith("/createTask"):
            accepted.append(time.time())
        return answer

    waits: list[float] = []
    answers: list[float] = []
    steps: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="imagebot-idle-") as folder:
        system = System(Path(folder), {"OTEL_BSP_SCHEDULE_DELAY": "100", "POLL_INTERVAL": ""})
        system.kie.durations = (0.0, 0.0)
        system.middlewares.append(note)
        await system.open()
        try:
            await system.start_worker()
            await system.start_bot()
            for number in range(_WARM + messages):
                person = system.person(f"Guest {number}")
                await asyncio.sleep(_QUIET)
                before, sent = len(accepted), time.time()
                asked = await person.send_text("a red fox in snow")
                await person.reply_after(asked, timeout=30)
                answered = time.time()
                await system.picture(person)
                if number >= _WARM:
                    waits.append(accepted[before] - sent)
                    answers.append(answered - sent)
                    await _note_steps(system, asked.update_id or 0, sent, steps)
        finally:
            await system.close()
    return _text(waits, answers, steps)


async def _note_steps(
    system: System, update: int, sent: float, steps: defaultdict[str, list[tuple[float, float]]]
) -> None:
    """The spans of an update's trace: when each began after the message, and how long it took."""

    def whole(traces: object) -> str | None:
        found = system.traces.trace_of_update(update)
        names = {span.name for span in system.traces.trace(found)} if found else set()
        return found if {"job", "process submit", "process deliver"} <= names else None

    trace = await system.traces.wait_for(whole)
    for span in system.traces.trace(trace or ""):
        began = span.start_ns / 1e9 - sent
        steps[span.name].append((began, (span.end_ns - span.start_ns) / 1e9))


def _text(waits: list[float], answers: list[float], steps: dict[str, list[tuple[float, float]]]) -> str:
    rows = [
        f"{len(waits)} messages on an idle system, medians (p95) in ms",
        f"message in the chat to accepted by the provider: {_ms(median(waits))} ({_ms(quantile(waits, 0.95))})",
        f"message in the chat to the first answer there:   {_ms(median(answers))} ({_ms(quantile(answers, 0.95))})",
        "",
        f"{'span':34}{'begins after':>14}{'takes':>9}",
    ]
    seen = sorted((median(b for b, _ in found), name) for name, found in steps.items())
    rows += [f"{name:34}{_ms(began):>14}{_ms(median(t for _, t in steps[name])):>9}" for began, name in seen]
    return "\n".join(rows)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f}"


def main(messages: Annotated[int, typer.Option(min=1)] = 40) -> None:
    """Measure."""
    print(asyncio.run(_measure(messages)))


if __name__ == "__main__":
    typer.run(main)
