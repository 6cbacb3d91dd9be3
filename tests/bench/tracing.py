"""What tracing costs a job, in CPU time of a worker: one job's spans, metrics and log line, each alone and together.

    python -m tests.bench.tracing --jobs 3000

Runs a worker's part of a job through the real instrumentations, with everything they stand around (Redis,
the provider, Telegram) answering at once, in a fresh process for each way of exporting, to an OTLP endpoint
in another. The differences are telemetry's own, the exporter's threads included; together they are a little more
than their sum, since measurements then name a trace as their example. What a whole job costs is
`python -m tests.bench`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import structlog
import typer
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.methods import TelegramMethod
from aiogram.types import InputFile, InputMediaPhoto
from dramatiq import MessageProxy
from dramatiq.brokers.stub import StubBroker
from dramatiq.message import Message
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from observability import setup
from observability.addresses import address_hook
from observability.aiogram import instrument_bot
from observability.dramatiq import anchored, instrument_broker
from src.jobs import Job, Spec, State, Wake, new_id
from src.telemetry import job_spans, metrics

_TOKEN = "123456789:AAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
_STORY = "waiting@0 submitting@12 running@140 ready@30010 delivering@30020 delivered@30150"
_POLLS = 3
_WARM = 300

log = structlog.get_logger(__name__)


class _Provider(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"code": 200, "data": {"state": "generating"}}, request=request)


class _Telegram(AiohttpSession):
    async def make_request(self, bot: Bot, method: TelegramMethod[Any], timeout: int | None = None) -> Any:
        self.build_form_data(bot, method)
        return True


class _Picture(InputFile):
    async def read(self, bot: Bot) -> AsyncGenerator[bytes, None]:
        yield bytes(300_000)


class Worker:
    """A worker's part of a job and nothing else."""

    def __init__(self) -> None:
        self._broker = StubBroker(middleware=[])
        instrument_broker(self._broker, flush=False)
        self._broker.declare_queue("images")
        self._http = httpx.AsyncClient(transport=_Provider(), base_url="https://api.kie.ai")
        HTTPXClientInstrumentor.instrument_client(self._http, request_hook=address_hook([_TOKEN]))
        self._bot = Bot(_TOKEN, session=_Telegram())
        instrument_bot(self._bot)

    async def job(self) -> None:
        """From the message that says submit to the job's last span."""
        job = _job()
        with self._processing("submit", job):
            await self._http.post("/api/v1/jobs/createTask", json={"model": job.spec.model})
            generation = job_spans.open_generation(job)
        metrics.wait_duration.record(0.1, {"imagebot.provider": "kie"})
        for _ in range(_POLLS):
            with job_spans.under(generation):
                await self._http.get("/api/v1/jobs/recordInfo", params={"taskId": "a7f3b2"})
        job_spans.write_generation(
            dataclasses.replace(job, generation=generation),
            attributes={"gen_ai.response.finish_reasons": ("stop",)},
        )
        labels = {"imagebot.provider": "kie", "gen_ai.request.model": job.spec.model}
        metrics.generation_duration.record(30.0, labels)
        metrics.generation_polls.record(_POLLS, {"imagebot.provider": "kie"})
        with self._processing("deliver", job):
            await self._http.get("/files/picture.png")
            media = InputMediaPhoto(media=_Picture("picture.png"))
            await self._bot.edit_message_media(media, chat_id=1, message_id=2)
            outcome = {"imagebot.outcome": "delivered", "imagebot.provider": "kie"}
            metrics.jobs.add(1, {**outcome, "gen_ai.request.model": job.spec.model})
            metrics.job_duration.record(30.0, outcome)
            metrics.delivery_duration.record(0.2)
            log.info("job ended", job_id=job.id, outcome="delivered", trace_id=job_spans.trace_id(job))
        job_spans.write_end(job, State.DELIVERED)

    @contextmanager
    def _processing(self, step: str, job: Job) -> Iterator[None]:
        message = Message("images", step, (job.id, "kie"), {}, {})
        ref = job_spans.job_ref(job)
        with job_spans.under(ref), anchored(ref):
            self._broker.enqueue(message)
        proxy = MessageProxy(Message.decode(self._broker.queues["images"].get_nowait()))
        self._broker.queues["images"].task_done()
        self._broker.emit_before("process_message", proxy)
        yield
        self._broker.emit_after("process_message", proxy)


def _job() -> Job:
    job_id = new_id()
    with trace.get_tracer(__name__).start_as_current_span("update message"):
        wake = Wake(job_id, "kie", 1, trace=job_spans.open_job())
    spec = Spec(prompt="a boat", model="nano-banana-2-1", aspect="1:1", chat=1, lang="en")
    return Job(
        id=job_id,
        state=State.DELIVERED,
        user="1",
        request=new_id(),
        provider="kie",
        spec=spec,
        wake=wake,
        fence=1,
        created=0,
        story=_STORY,
        ticket={"external_id": "a7f3b2"},
    )


async def _measure(jobs: int) -> float:
    """CPU time of this process a job, in ms."""
    with tempfile.TemporaryDirectory() as folder:
        telemetry = setup(
            "imagebot-worker",
            secrets=[_TOKEN, "sk-another-secret"],
            log_format="json",
            spool=Path(folder),
        )
        worker = Worker()
        for _ in range(_WARM):
            await worker.job()
        telemetry.flush()
        began = time.process_time()
        for _ in range(jobs):
            await worker.job()
        telemetry.flush(30)
        took = time.process_time() - began
        telemetry.shutdown()
    return took * 1e3 / jobs


_SINK = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def _child(jobs: int, env: dict[str, str]) -> float:
    command = [sys.executable, "-m", "tests.bench.tracing", "--jobs", str(jobs), "--inside"]
    plain = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
    done = subprocess.run(
        command, env=plain | env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return float(done.stdout)


def _only(*signals: str) -> dict[str, str]:
    """The settings with which only these signals are exported."""
    left_out = {"TRACES", "METRICS", "LOGS"}.difference(signals)
    return {f"OTEL_{signal}_EXPORTER": "none" for signal in left_out}


_WAYS = {
    "nothing exported": _only(),
    "spans": _only("TRACES"),
    "metrics": _only("METRICS"),
    "logs": _only("LOGS"),
    "all three": {},
    "all, one trace in ten": {
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.1",
    },
}


def main(
    jobs: Annotated[int, typer.Option(help="Jobs a run.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Runs of each way, in turn; the least counts.")] = 5,
    inside: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Measure."""
    if inside:
        print(asyncio.run(_measure(jobs)))
        return
    sink = subprocess.Popen([sys.executable, "-c", _SINK], stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{sink.stdout.readline().strip()}"}
    try:
        took = dict.fromkeys(_WAYS, math.inf)
        for _ in range(rounds):
            for way, settings in _WAYS.items():
                took[way] = min(took[way], _child(jobs, settings | endpoint))
    finally:
        sink.terminate()
        sink.wait()
    least = took["nothing exported"]
    for way, ms in took.items():
        print(f"{way:<24} {ms:6.3f} ms a job   {ms - least:+.3f} ms")


if __name__ == "__main__":
    typer.run(main)
