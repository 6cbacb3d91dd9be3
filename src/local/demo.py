"""The demo: the whole system on embedded defaults, talking to the sandbox instead of the world.

Real processes where production has them: Redis, the bot, a Dramatiq worker, the api once somebody opens the Mini App;
and the sandbox, which is Telegram with its chat page, the providers, and the receiver of traces.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from src.jobs import Job, Ledger, State
from src.local.folders import held
from src.local.redis_server import NoRedis, place, redis_command
from src.local.supervisor import Part, PartDied, Supervisor
from src.sandbox.telegram import DEMO_STORE, DEMO_TOKEN
from src.settings import Settings, UserError, key_of, load_settings, provider_clients
from src.store.clients import make_redis
from src.telemetry import job_spans

_UP_SECONDS = 60.0
_PORT = 8090
# Its host is nowhere: the sandbox knows what stands there, as it knows all that lies outside.
MINI_APP = "https://imagebot.invalid/app"
_PICTURE_SECONDS = 150.0
_SPANS_SECONDS = 20.0


class DemoError(UserError):
    """The demo cannot start or its job failed; the text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `imagebot demo --prompt` prints with `--json`. `spans` and `orphans` are None where the spans went to a
    Collector of one's own."""

    job_id: str
    state: str
    seconds: float
    image: str | None
    trace_id: str
    spans: int | None
    orphans: int | None
    reason: str | None = None

    def dumps(self) -> str:
        found = asdict(self)
        if found["reason"] is None:
            del found["reason"]
        return json.dumps(found, ensure_ascii=False)


@asynccontextmanager
async def system(
    data: Path, say: Callable[[str], None], *, port: int = _PORT, redis_url: str | None = None
) -> AsyncIterator[tuple[str, Supervisor, str]]:
    """Run the demo's parts: the address of the chat page, the supervisor, the address of Redis.

    Args:
        data: folder that keeps everything between two starts.
        port: of the page; another free one is taken when it is in use.
        redis_url: a Redis that runs already; None: one of our own.

    Raises:
        FolderInUse, NoFolder: the data folder is not to be had. PartDied: a part did not come up. NoRedis: there is none.
        SettingsError: one of the environment is wrong. redis.RedisError: the one given is away, or takes no writes.
    """
    data = data.resolve()
    settings = _settings(environment("http://127.0.0.1", redis_url or "redis://127.0.0.1", data))
    with held(data, "another demo"):
        supervisor = Supervisor(logs=data / "logs", say=say)
        try:
            if redis_url is None:
                redis_url = await start_redis(supervisor, data)
            else:
                async with make_redis(settings) as client:
                    await Ledger(client).try_writing()
            port = free_port(port)
            url = f"http://127.0.0.1:{port}"
            env = environment(url, redis_url, data) | {"MINI_APP_URL": MINI_APP}
            listener = supervisor.until_stopped.enter_context(socket.create_server(("127.0.0.1", 0)))
            sandbox = [sys.executable, "-m", "src.sandbox", "--port", str(port)]
            sandbox += ["--data", str(data / "sandbox"), "--token", DEMO_TOKEN]
            sandbox += ["--api", "http://{}:{}".format(*listener.getsockname())]
            await supervisor.start(
                Part("sandbox", sandbox, env, ready=lambda: wait_for_page(url), serves=True)
            )
            await supervisor.start_bot(env)
            api = asyncio.create_task(start_api_when_asked(supervisor, listener, env))
            try:
                yield url, supervisor, redis_url
            finally:
                api.cancel()
                await asyncio.wait({api})
        finally:
            await supervisor.stop()


async def start_api_when_asked(supervisor: Supervisor, listener: socket.socket, env: dict[str, str]) -> None:
    """Start the api at the first connection, which waits for it: the Mini App alone needs it, and it costs the start of
    the others seconds of a core."""
    asked, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_reader(listener, asked.set)
    try:
        await asked.wait()
    finally:
        loop.remove_reader(listener)
    command = [sys.executable, "-m", "src.cli", "api", "--fd", str(listener.fileno())]
    await supervisor.start(Part("api", command, env, grace=25.0, files=[listener.fileno()]))


async def one_job(url: str, redis_url: str, prompt: str, data: Path) -> Outcome:
    """Ask for one picture as a person would, wait for it in the chat, and read its trace.

    Raises:
        DemoError: nothing came in time, or the bot did not take the job; says what the chat said.
    """
    started = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        person = (await client.post("/sandbox/people", json={"first_name": "Demo"})).json()["id"]
        sent = await client.post(f"/sandbox/people/{person}/messages", json={"text": prompt})
        if sent.status_code != 201:
            raise DemoError(f"The message could not be sent: {sent.text}")
        job = await _ended_job(_settings(environment(url, redis_url, data)), person)
        seconds = round(time.monotonic() - started, 2)
        image = await _save_picture(client, person, job.id, data) if job.state is State.DELIVERED else None
        trace = job_spans.trace_id(job)
        spans, orphans = (None, None) if _own_collector() else await _trace(client, trace)
    reason = None if image else f"{job.state}: {job.kind or 'no picture'}"
    return Outcome(job.id, job.state, seconds, image, trace, spans, orphans, reason)


async def _ended_job(settings: Settings, person: int) -> Job:
    """The person's job once it has ended, as the ledger tells it."""
    redis = make_redis(settings)
    ledger = Ledger(redis)
    job: Job | None = None
    try:
        async with asyncio.timeout(_PICTURE_SECONDS):
            while job is None or not job.ended:
                await asyncio.sleep(0.05)
                for request_id in await ledger.history(str(person), 1):
                    request = await ledger.request(request_id)
                    job = await ledger.job(request.jobs[0]) if request else None
    except TimeoutError:
        state = f"it is {job.state}" if job else "the bot did not take the message"
        raise DemoError(f"No picture within {_PICTURE_SECONDS:.0f} s: {state}.") from None
    finally:
        await redis.aclose()
    return job


async def _save_picture(client: httpx.AsyncClient, person: int, job_id: str, data: Path) -> str | None:
    chat = (await client.get(f"/sandbox/people/{person}/chat")).json()
    for message in reversed(chat["messages"]):
        if photo := message.get("photo"):
            file = await client.get(f"/sandbox/files/{photo[-1]['file_unique_id']}")
            suffix = {"image/png": "png", "image/webp": "webp"}.get(file.headers["content-type"], "jpg")
            path = data.resolve() / "pictures" / f"{job_id}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            return str(path)
    return None


async def _trace(client: httpx.AsyncClient, trace_id: str) -> tuple[int, int]:
    """Spans and orphans of a trace, once it is whole; as it is when that takes too long."""
    until = time.monotonic() + _SPANS_SECONDS
    found: dict[str, Any] = {"spans": [], "orphans": []}
    while time.monotonic() < until:
        answer = await client.get(f"/traces/api/{trace_id}")
        if answer.status_code == 200:
            found = answer.json()
            if found["finished"] and any(span["name"] == "job" for span in found["spans"]):
                break
        await asyncio.sleep(0.1)
    return len(found["spans"]), len(found["orphans"])


def _own_collector() -> str | None:
    """Where spans go instead of the demo's page."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


async def start_redis(supervisor: Supervisor, data: Path) -> str:
    """Start a Redis of our own; its address.

    Raises:
        FolderInUse, NoFolder: the data folder is not to be had. NoRedis: there is none. PartDied: it did not come up.
    """
    where = supervisor.until_stopped.enter_context(place(data.resolve()))
    # The lock is Redis's own, too: it may live longer than we do.
    command = redis_command(data.resolve(), where.socket)
    up = partial(_redis_up, where.address)
    try:
        await supervisor.start(Part("redis", command, ready=up, files=[where.lock], serves=True))
    except PartDied as error:
        if "RDB format version" not in str(error):
            raise
        raise NoRedis(
            f"{command[0]} cannot read what another Redis or Valkey has written into {data.resolve() / 'redis'}: put "
            "that one on PATH again; to change over, `imagebot backup` with it, then `imagebot restore` into a new folder."
        ) from None
    return where.address


async def _redis_up(url: str) -> None:
    client = Redis.from_url(url)
    try:
        async with asyncio.timeout(_UP_SECONDS):
            while True:
                try:
                    await client.ping()
                    return
                except RedisError:
                    await asyncio.sleep(0.05)
    finally:
        await client.aclose()


async def wait_for_page(url: str) -> None:
    """Return once something answers there; TimeoutError after a minute."""
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(_UP_SECONDS):
        while True:
            try:
                (await client.get(url)).raise_for_status()
                return
            except httpx.TransportError:
                await asyncio.sleep(0.05)


def environment(url: str, redis_url: str, data: Path) -> dict[str, str]:
    """The settings of the demo's processes: everything outside is the sandbox."""
    return {
        # A real bot's settings may lie in the folder the demo is started in.
        "ENV_FILE": "",
        "SECRETS_DIR": os.devnull,
        "REDIS_URL": redis_url,
        "BROKER_URL": "",
        "DATA_DIR": str(data),
        "BLOBS_URL": "",
        "TELEGRAM_TOKEN": DEMO_TOKEN,
        "INLINE_STORAGE_CHAT": str(DEMO_STORE),
        "TELEGRAM_API_URL": url,
        "PROXY_URL": "",
        "TELEGRAM_PROXY_URL": "",
        "WEBHOOK_URL": "",
        "MINI_APP_URL": "",
        "MODELS_FILE": "",
        **{key_of(provider): "" for provider in provider_clients()},
        **{f"{provider.upper()}_PROXY_URL": "" for provider in provider_clients()},
        "PROVIDER": "kie",
        "KIE_API_KEY": "sandbox-key",
        "KIE_BASE_URL": f"{url}/kie",
        "KIE_UPLOAD_URL": f"{url}/kie-upload",
        "OPENAI_API_KEY": "sandbox-key",
        "OPENAI_BASE_URL": f"{url}/openai/v1",
        "ALLOW_PRIVATE_HOSTS": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": _own_collector() or url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "300",
        "OTEL_METRIC_EXPORT_INTERVAL": "5000",
        "LOG_FORMAT": "console",
    }


def _settings(env: dict[str, str]) -> Settings:
    """The parts' settings: what the environment sets beside these counts.

    Raises:
        SettingsError: where the parts would.
    """
    own = dict(os.environ)
    os.environ.update(env)
    try:
        return load_settings()
    finally:
        os.environ.clear()
        os.environ.update(own)


def free_port(wanted: int) -> int:
    """That port of this machine, or another where it is in use."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("No free port on 127.0.0.1.")
