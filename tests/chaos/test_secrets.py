"""No token, no key and no word of a person in anything that leaves the processes."""

from __future__ import annotations

from pathlib import Path

import psutil

from src.sandbox.telegram import DEMO_TOKEN
from tests.system import running

_PROMPT = "zebrafinch quicksilver"
_SECRETS = {
    "KIE_API_KEY": "kie-4f1c9a77d2e84b0c",
    "OPENAI_API_KEY": "sk-proj-8a1b2c3d4e5f6a7b",
    "KIE_WEBHOOK_KEY": "hook-55aa66bb77cc88dd",
    "WEBHOOK_SECRET": "secret-0192837465aabbcc",
}


async def test_nothing_secret_is_exported_logged_or_shown_by_ps(tmp_path: Path) -> None:
    """Through a good run and through every kind of refusal, each of which quotes what it refuses."""
    async with running(tmp_path, LEASE="3", LOG_LEVEL="DEBUG", FAILOVER="false", **_SECRETS) as system:
        ann = system.person(_PROMPT.title())
        wishes = [_PROMPT, f"{_PROMPT} nsfw", f"{_PROMPT} #blocked", f"{_PROMPT} #notimage"]
        for kind, path in (("500", "/createTask"), ("html", "/createTask"), ("wrong_types", "/recordInfo")):
            system.faults.add(kind, path=path)
        for kind in ("html", "429"):
            system.telegram.faults.add(kind, "editMessageMedia", times=1)
        for wish in wishes:
            await ann.send_text(wish)
        heads = [psutil.Process(system.pid(part)) for part in system.parts]
        family = [process for head in heads for process in (head, *head.children(recursive=True))]
        arguments = " ".join(word for process in family for word in process.cmdline())

        async def all_ended() -> bool:
            jobs = await system.jobs_of(ann)
            return len(jobs) == len(wishes) and all(job.ended for job in jobs)

        await system.until(all_ended)
        for part in system.parts:
            assert await system.stop(part) == 0
        logs = "\n".join(system.log_of(name) for name in system.logs)
        exported = system.traces.text()
    assert "process deliver" in exported
    assert "job ended" in logs
    secrets = [*_SECRETS.values(), DEMO_TOKEN, DEMO_TOKEN.partition(":")[2]]
    for where, text in {"ps": arguments, "the logs": logs, "telemetry": exported}.items():
        for secret in [*secrets, "zebrafinch", "quicksilver"]:
            assert secret.lower() not in text.lower(), f"{secret[:6]}… in {where}"
