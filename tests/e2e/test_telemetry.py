"""What a running system exports is what its guides say: README's tree of a trace, the table of metrics and their labels."""

from __future__ import annotations

import io
import re
from pathlib import Path

import httpx
from PIL import Image

from src.sandbox.otlp import SpanRecord
from tests.api.conftest import free_port
from tests.monitoring.contract import promised
from tests.system import System, running

README = Path(__file__).parents[2] / "README.md"
KEY = "a-key-of-the-shop-0123456789"
# Where their time allows.
RARE = {"wait in line", "wait for delivery", "wait for an upload", "wait for Telegram"}
_BOT_API = re.compile(r"[a-z]+([A-Z][a-z]+)+")
_MESSAGING = {
    "messaging.system",
    "messaging.operation.name",
    "messaging.destination.name",
    "messaging.dramatiq.actor",
}


async def test_spans_and_labels_are_those_of_the_guides(tmp_path: Path) -> None:
    env = {"API_KEYS": f"shop:{KEY}", "RATE_LIMIT": "200", "MAX_ACTIVE_PER_USER": "100"}
    async with running(tmp_path, **env) as system:
        await system.start_api(free_port())
        await _every_kind(system)
        spans = system.traces.spans()
        by_id = {span.span_id: span for span in spans}
        seen = {(_name(by_id.get(span.parent_id)), _name(span)) for span in spans} - {("", "")}
        tree = _tree()
        told = {
            (parent, name)
            for parent, name in seen
            if not _BOT_API.fullmatch(name)
            and not (parent and name in ("GET", "POST"))
            and name != "wait for Telegram"  # before any call
        }
        assert told <= tree | {("", "update callback_query"), ("", "POST /v1/images")} | {
            (root, name)
            for root in ("update callback_query", "POST /v1/images")
            for parent, name in tree
            if parent == "update message"
        }
        assert {name for _, name in tree} - RARE <= {name for _, name in seen}
        assert all(span.resource["service.version"] for span in spans)
        _job_tells_what_was_done(spans)

        table = {row["name"]: set(re.findall(r"`([a-z_.]+)`", row["attributes"])) for row in promised()}
        points = system.traces.metrics()
        assert {point.name for point in points} <= set(table)
        for point in points:
            told_of = table[point.name] | (_MESSAGING if point.name.startswith("messaging.") else set())
            assert set(point.attributes) <= told_of, point.name


async def _every_kind(system: System) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 200), "red").save(buffer, "JPEG")
    edits, album, plain, refused, gives_up = (system.person(name) for name in "abcde")
    await system.ledger.choose(str(album.id), count=2)
    await edits.send_photo(buffer.getvalue(), "make it a watercolour")
    await album.send_text("two seasons")
    await plain.send_text("a red fox")
    await refused.send_text("nsfw")
    await gives_up.send_text("#never a thing")
    placeholder = await system.message(gives_up, lambda m: m.from_bot and bool(m.buttons))
    await (await gives_up.tap(placeholder, placeholder.buttons[0]["callback_data"])).answered()
    picture = await system.picture(plain)
    await (await plain.tap(picture, picture.button("Again")["callback_data"])).answered()
    async with httpx.AsyncClient(base_url=system.api_url, timeout=20, trust_env=False) as api:
        answer = await api.post(
            "/v1/images", json={"prompt": "a boat"}, headers={"Authorization": f"Bearer {KEY}"}
        )
        await system.whole_trace(answer.json()["trace_id"], 60)
    for person in (edits, album, plain, refused, gives_up):
        await system.until(lambda person=person: system.all_ended(person), 60)
    jobs = 8
    await system.traces.wait_for(lambda t: sum(span.name == "job" for span in t.spans()) == jobs, 60)


def _job_tells_what_was_done(spans: list[SpanRecord]) -> None:
    for job in (span for span in spans if span.name == "job"):
        below = [span for span in spans if span.parent_id == job.span_id]
        drawn = [span for span in below if span.name.startswith("generate_content ")]
        polls = [
            span for span in spans if span.name == "GET" and span.parent_id in {d.span_id for d in drawn}
        ]
        assert job.attributes["imagebot.polls"] == len(polls)
        events = [event.name for event in job.events]
        assert f"imagebot.{job.attributes['imagebot.outcome']}" in events
        assert len(set(events) - {"imagebot.limited"}) == len([e for e in events if e != "imagebot.limited"])
        for span in drawn:
            assert span.attributes["imagebot.polls"] == len(polls)
            assert span.attributes["server.address"] == "127.0.0.1"
        if job.attributes["imagebot.outcome"] == "failed":
            for span in (job, *drawn):
                assert span.attributes["error.type"].startswith("moderated")
                assert span.attributes["imagebot.error.code"]


def _name(span: SpanRecord | None) -> str:
    name = span.name if span is not None else ""
    return re.sub(r"^generate_content .*", "generate_content {model}", name)


def _tree() -> set[tuple[str, str]]:
    """The parents and children of README's tree."""
    text = README.read_text().partition("## The trace of a job")[2]
    found, above = set(), [""]
    for line in text.split("```")[1].strip().splitlines():
        match = re.match(r"([ │├└─]*)(.+?)(?: …)?  +[A-Z]+", line)
        assert match is not None, line
        depth = len(match[1]) // 3
        above[depth + 1 :] = [match[2]]
        found.add((above[depth], match[2]))
    return found
