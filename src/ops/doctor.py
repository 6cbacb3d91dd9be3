"""`imagebot doctor`: checks every setting and everything outside, one line each, and what to do.

It changes nothing and costs nothing at a provider. No value of a secret is shown.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from aiogram.exceptions import TelegramAPIError, TelegramNetworkError, TelegramUnauthorizedError
from opentelemetry.util.re import parse_env_headers
from redis.exceptions import RedisError

from observability.addresses import safe_url
from src.app import open_app
from src.jobs import Ledger, keys
from src.limits import Limiter
from src.local.redis_server import NoRedis, found, redis_server
from src.ops.hearing import webhook_trouble
from src.ops.thresholds import TELEGRAM
from src.settings import Settings, key_of, load_settings, provider_clients
from src.store.clients import make_redis, trouble
from src.telegram.client import make_bot

_OLDEST_REDIS = (6, 2)
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, whether it is all right, and what is so or what to do."""

    subject: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'WRONG'} {self.subject}: {self.detail}"


async def examine(say: Callable[[str], None]) -> bool:
    """Say every finding; whether all is well.

    Raises:
        SettingsError: there are none to look with.
    """
    settings = found(load_settings())
    say(str(Finding("settings", True, "all can be read")))
    well = True
    for part in (_redis, _rabbitmq, _telegram, _providers, _telemetry):
        async for finding in part(settings):
            say(str(finding))
            well = well and finding.ok
    return well


async def _redis(settings: Settings) -> AsyncIterator[Finding]:
    if settings.redis_url is None:
        try:
            program = redis_server()
        except NoRedis as error:
            yield Finding("Redis", False, str(error))
        else:
            yield Finding("Redis", True, f"REDIS_URL is not set; `imagebot run` starts {program}")
        return
    client = make_redis(settings)
    try:
        server = await client.info("server")
        version = str(server["redis_version"])
        new_enough = tuple(int(part) for part in version.split(".")[:2]) >= _OLDEST_REDIS
        yield Finding("Redis", new_enough, f"version {version}" + ("" if new_enough else "; 6.2 is needed"))
        persistence = await client.info("persistence")
        kept = bool(persistence.get("aof_enabled"))
        advice = "append-only file is on" if kept else "a restart loses jobs: set `appendonly yes`"
        yield Finding("Redis persistence", kept, advice)
        memory = await client.info("memory")
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        safe = policy == "noeviction" or not memory.get("maxmemory")
        advice = policy if safe else f"{policy} throws jobs away when memory is full: set `noeviction`"
        yield Finding("Redis eviction", safe, advice)
    except (RedisError, OSError) as error:
        yield Finding("Redis", False, trouble(error))
    finally:
        await client.aclose()


async def _rabbitmq(settings: Settings) -> AsyncIterator[Finding]:
    if settings.broker_url is None:
        return
    try:
        from src.worker.rabbitmq import trouble as trouble_with_rabbitmq
    except ModuleNotFoundError:
        yield Finding("RabbitMQ", False, "needs `pip install 'imagebot[rabbitmq]'`")
        return
    wrong = await asyncio.to_thread(trouble_with_rabbitmq, settings)
    yield Finding("RabbitMQ", not wrong, wrong or "takes connections")


async def _telegram(settings: Settings) -> AsyncIterator[Finding]:
    if settings.telegram_token is None:
        yield Finding("Telegram", False, "TELEGRAM_TOKEN is not set: get one from @BotFather")
        return
    bot, way = make_bot(settings, Limiter()), _way(settings, "telegram")
    try:
        me = await bot.get_me(request_timeout=15)
        yield Finding("Telegram", True, f"the token is @{me.username}'s at {settings.telegram_api_url}{way}")
        info = await bot.get_webhook_info(request_timeout=15)
        if settings.webhook_url is not None:
            wrong = webhook_trouble(info, settings.webhook_url)
            yield Finding("Telegram's webhook", not wrong, wrong or "takes updates")
        elif info.url:
            yield Finding("Telegram's webhook", True, "one is set from before; the bot takes it back")
        if settings.redis_url is not None and (wrong := await _deaf(settings)):
            yield Finding("Telegram's updates", False, wrong)
    except TelegramUnauthorizedError:
        yield Finding("Telegram", False, "the token is refused: check TELEGRAM_TOKEN with @BotFather")
    except (TelegramNetworkError, OSError):
        yield Finding(
            "Telegram", False, f"{settings.telegram_api_url} does not answer{way}: check TELEGRAM_API_URL"
        )
    except TelegramAPIError as error:
        yield Finding("Telegram", False, f"answers with {type(error).__name__}: check TELEGRAM_API_URL")
    finally:
        await bot.session.close()


async def _deaf(settings: Settings) -> str:
    """Why the running bot gets no updates, as it says itself: to ask Telegram for them would disturb it."""
    client = make_redis(settings)
    try:
        heard, now = await client.hgetall(keys.HEARD()), await Ledger(client).now()
    except (RedisError, OSError):
        return ""  # said above
    finally:
        await client.aclose()
    seconds = (now - int(heard.get("at", now))) / 1000
    why = heard.get("why") or "no bot process asks for them"
    return f"none for {seconds:.0f} s: {why}" if TELEGRAM.level(seconds) else ""


async def _providers(settings: Settings) -> AsyncIterator[Finding]:
    if not settings.providers:
        keys = " or ".join(map(key_of, provider_clients()))
        yield Finding("providers", False, f"none has a key: set {keys}")
        return
    # The providers alone: whatever is wrong with Redis was said above.
    known = settings.model_copy(update={"redis_url": settings.redis_url or "redis://localhost"})
    async with open_app(known) as app:
        for name, provider in app.providers.items():
            health = await provider.check()
            yield Finding(name, health.ok, health.detail + _way(settings, name))


def _way(settings: Settings, client: str) -> str:
    proxy = settings.route(client).shown
    return f" (through the proxy {proxy})" if proxy else ""


async def _telemetry(settings: Settings) -> AsyncIterator[Finding]:
    given = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    endpoint = given or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        yield Finding("OTLP", True, "OTEL_EXPORTER_OTLP_ENDPOINT is not set: no traces are sent")
        return
    parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    shown = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            pass
    except OSError:
        yield Finding("OTLP", False, f"{shown} takes no connection: is the collector running?")
        return
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol == "grpc" or parts.scheme not in ("http", "https"):
        yield Finding("OTLP", True, f"{shown} takes connections")
        return
    yield await _traces_at(given or f"{endpoint.rstrip('/')}/v1/traces")


async def _traces_at(url: str) -> Finding:
    """Send an export of nothing, which only one who takes traces accepts."""
    said = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or os.environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    headers = {**parse_env_headers(said, liberal=True), "Content-Type": "application/x-protobuf"}
    shown = safe_url(url)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_SECONDS) as client:
            status = (await client.post(url, headers=headers)).status_code
    except httpx.HTTPError as error:
        return Finding("OTLP", False, f"{shown} does not answer ({type(error).__name__}): check the endpoint")
    if status in (401, 403):
        return Finding("OTLP", False, f"{shown} refuses us ({status}): check OTEL_EXPORTER_OTLP_HEADERS")
    if status >= 300:
        return Finding(
            "OTLP",
            False,
            f"{shown} takes no traces ({status}): check OTEL_EXPORTER_OTLP_ENDPOINT, usually port 4318",
        )
    return Finding("OTLP", True, f"{shown} takes traces")
