"""`imagebot doctor`: checks every setting and everything outside, one line each, and what to do.

It leaves nothing changed, and costs nothing at a provider unless that is asked for (`--try`). No value of a secret is
shown.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import httpx
import psutil
from aiogram import Bot
from aiogram.enums import ChatType
from aiogram.exceptions import (
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramUnauthorizedError,
)
from aiogram.types import ChatMemberAdministrator, User, WebhookInfo
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.util.re import parse_env_headers
from redis.exceptions import RedisError

from observability.addresses import safe_url
from observability.process import memory_share
from src.app import open_app
from src.jobs import Ledger, keys
from src.jobs.spending import DAY_MS
from src.limits import Limiter
from src.local.folders import NoFolder, make_folder
from src.local.redis_server import NoRedis, found, redis_server
from src.ops import report
from src.ops.hearing import webhook_trouble
from src.ops.thresholds import DISK, MEMORY, TELEGRAM
from src.ops.trial import make_one
from src.settings import Settings, SettingsError, key_of, load_settings, provider_clients
from src.store.blobs import SPARE_BYTES, Blobs, BlobsAway
from src.store.clients import make_redis, trouble
from src.telegram.client import make_bot

_OLDEST_REDIS = (6, 2)
_CONNECT_SECONDS = 3.0
_CLOCK_SECONDS = 10.0
# Of the machine: bot, worker, api and Redis; and what it is to have free.
_LEAST_MEMORY = 1_000_000_000
_LEAST_DISK = 1_000_000_000
_TELEGRAM = "https://api.telegram.org"
_WEBHOOK_PORTS = (443, 80, 88, 8443)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, whether it is all right, and what is so or what to do."""

    subject: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'WRONG'} {self.subject}: {self.detail}"


async def examine(say: Callable[[str], None], provider: str | None = None, *, pay: bool = False) -> bool:
    """Say every finding; whether all is well.

    Args:
        provider: the only thing to look at. pay: have it make a picture, too.

    Raises:
        SettingsError: there are none to look with.
    """
    settings = found(load_settings())
    say(str(Finding("settings", True, "all can be read")))
    well = True
    everything = (_machine, _redis, _rabbitmq, _telegram, _pages, _providers, _telemetry, _alarm)
    parts = [part(settings) for part in everything] if provider is None else [_one(settings, provider, pay)]
    for part in parts:
        try:
            async for finding in part:
                say(str(finding))
                well = well and finding.ok
        except SettingsError as error:
            # Of settings that are right one by one and do not go together: the rest is looked at all the same.
            say(str(Finding("settings", False, str(error))))
            well = False
    return well


async def _machine(settings: Settings) -> AsyncIterator[Finding]:
    total, share = psutil.virtual_memory().total, memory_share()
    shown = f"{total / 1e9:.1f} GB, {share:.0%} of what may be used is in use"
    if total < _LEAST_MEMORY:
        yield Finding("memory", False, f"{shown}: bot, worker and Redis need 1 GB together")
    else:
        yield Finding("memory", not MEMORY.level(share), shown)
    try:
        disk = shutil.disk_usage(await asyncio.to_thread(make_folder, settings.data_dir.resolve()))
    except NoFolder as error:
        yield Finding("disk", False, str(error))
        return
    full = 1 - disk.free / disk.total
    shown = f"{disk.free / 1e9:.1f} GB free in {settings.data_dir}"
    enough = disk.free >= _LEAST_DISK and not DISK.level(full)
    yield Finding("disk", enough, shown if enough else f"{shown}, {full:.0%} in use: make room")
    blobs = Blobs(settings)
    try:
        await blobs.put("probe", b"written")
        await blobs.delete("probe")
        room = await blobs.free()
    except BlobsAway as error:
        yield Finding("originals", False, f"{error}: check BLOBS_URL")
        return
    if room == 0:
        least = f"{SPARE_BYTES / 1e6:.0f} MB are kept free there"
        yield Finding(
            "originals", False, f"{least}, and pictures that come in answers are refused: make room"
        )
    else:
        yield Finding("originals", True, f"{settings.blobs_url or 'the data folder'} takes them")


def _clock(of: str, theirs: float) -> Finding:
    """This machine's clock beside another's, in seconds since the epoch."""
    off = abs(time.time() - theirs)
    if off <= _CLOCK_SECONDS:
        return Finding("clock", True, f"as {of}'s")
    return Finding(
        "clock", False, f"{off:.0f} s from {of}'s: set it right, such as by `timedatectl set-ntp true`"
    )


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
        # Reading works on a replica and for a user with few rights; only doing tells.
        await Ledger(client).try_writing()
        yield Finding("Redis writes", True, "takes a write and a script")
        seconds, micros = await client.time()
        yield _clock("Redis", int(seconds) + int(micros) / 1e6)
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
    bot = make_bot(settings, Limiter())
    try:
        me = await bot.get_me(request_timeout=15)
        way = _way(settings, "telegram")
        yield Finding("Telegram", True, f"the token is @{me.username}'s at {settings.telegram_api_url}{way}")
        yield await _admins(settings, bot)
        yield Finding("Telegram's switches", True, _switches(me))
        if me.supports_inline_queries or settings.inline_storage_chat is not None:
            yield Finding("inline mode", *await _inline(settings, bot, me))
        if (theirs := await _time_at_telegram(settings)) is not None:
            yield _clock("Telegram", theirs)
        info = await bot.get_webhook_info(request_timeout=15)
        if settings.webhook_url is not None:
            said = report.deaf_in_english(webhook_trouble(info, settings.webhook_url))
            wrong = _unreachable(settings) or said or _failed(info)
            yield Finding("Telegram's webhook", not wrong, wrong or "takes updates")
        elif info.url:
            yield Finding("Telegram's webhook", True, "one is set from before; the bot takes it back")
        if settings.redis_url is not None and (wrong := await _deaf(settings)):
            yield Finding("Telegram's updates", False, wrong)
        if settings.redis_url is not None and (untold := await _untold(settings)):
            yield Finding("inline feedback", False, untold)
    except TelegramUnauthorizedError:
        yield Finding("Telegram", False, "the token is refused: check TELEGRAM_TOKEN with @BotFather")
    except (TelegramNetworkError, OSError):
        there = await _time_at_telegram(settings) is not None
        how = "answers, but not as the Bot API does" if there else "does not answer"
        check = f"check TELEGRAM_API_URL{_way(settings, 'telegram', well=False)}"
        yield Finding("Telegram", False, f"{settings.telegram_api_url} {how}: {check}")
    except TelegramNotFound:
        yield Finding("Telegram", False, "knows no such bot (404): check TELEGRAM_TOKEN and TELEGRAM_API_URL")
    except TelegramAPIError as error:
        yield Finding("Telegram", False, f"answers with {type(error).__name__}: check TELEGRAM_API_URL")
    finally:
        await bot.session.close()


async def _admins(settings: Settings, bot: Bot) -> Finding:
    """Whether those who are to hear of problems can be written to."""
    if not settings.admin_ids:
        return Finding("admins", True, "ADMIN_IDS is not set: nobody is written to when something fails")
    strangers = []
    for admin in settings.admin_ids:
        try:
            await bot.get_chat(admin, request_timeout=15)
        except (TelegramBadRequest, TelegramForbiddenError):
            strangers.append(str(admin))
    if strangers:
        who = ", ".join(strangers)
        return Finding(
            "admins", False, f"{who} cannot be written to: check ADMIN_IDS, and have them send the bot /start"
        )
    return Finding("admins", True, "can be written to when something fails")


def _switches(me: User) -> str:
    """What @BotFather has switched; how groups are heard is nobody else's to say."""
    groups = "groups may add it" if me.can_join_groups else "no group can add it (@BotFather: Allow Groups?)"
    heard = (
        "hears all that is said there, which it needs not (@BotFather: Group Privacy)"
        if me.can_read_all_group_messages
        else "hears commands, mentions and replies there"
    )
    inline = "on" if me.supports_inline_queries else "off (@BotFather: /setinline)"
    return f"{groups}; it {heard}; inline mode is {inline}"


async def _inline(settings: Settings, bot: Bot, me: User) -> tuple[bool, str]:
    """Whether pictures can be asked for in any chat, and why not."""
    storage = settings.inline_storage_chat
    if not me.supports_inline_queries:
        return False, "is off: switch it on with @BotFather's /setinline, or unset INLINE_STORAGE_CHAT"
    if storage is None:
        return True, "shows what people have; it makes new pictures once INLINE_STORAGE_CHAT is set"
    try:
        chat = await bot.get_chat(storage)
        member = None if chat.type == ChatType.PRIVATE else await bot.get_chat_member(storage, me.id)
    except (TelegramBadRequest, TelegramForbiddenError) as error:
        return False, f"INLINE_STORAGE_CHAT cannot be reached ({error.message}): add the bot there"
    if member is not None and chat.type == ChatType.CHANNEL:
        posts = isinstance(member, ChatMemberAdministrator) and member.can_post_messages
        if not posts:
            return False, "the bot may not post to INLINE_STORAGE_CHAT: make it an admin of that channel"
    return True, "makes pictures by INLINE_STORAGE_CHAT; @BotFather's /setinlinefeedback should be 100 %"


async def _untold(settings: Settings) -> str:
    """Whether people have to tap a button because Telegram does not tell what they sent; empty: it does, or nobody did."""
    client = make_redis(settings)
    try:
        seen = await client.hgetall(keys.FEEDBACK())
    except (RedisError, OSError):
        return ""  # said above
    finally:
        await client.aclose()
    if int(seen.get("tapped", 0)) - int(seen.get("told", 0)) < DAY_MS:
        return ""
    return "is off, so people have to tap “Make it”: set it to 100 % with @BotFather's /setinlinefeedback"


async def _time_at_telegram(settings: Settings) -> float | None:
    """Telegram's clock, as its answers say it; None: it cannot be asked straight."""
    if settings.way("telegram").proxy:
        return None
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_SECONDS) as client:
            date = (await client.head(settings.telegram_api_url)).headers.get("date", "")
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (httpx.HTTPError, ValueError):
        return None


def _unreachable(settings: Settings) -> str:
    """Why Telegram never calls this address, whatever listens there; empty: it may."""
    port = urlsplit(str(settings.webhook_url)).port or 443
    if settings.telegram_api_url != _TELEGRAM or port in _WEBHOOK_PORTS:
        return ""
    return f"Telegram calls the ports {', '.join(map(str, _WEBHOOK_PORTS))} only: change WEBHOOK_URL"


def _failed(info: WebhookInfo) -> str:
    """What went wrong when Telegram last called, while something still waits to be told."""
    if info.last_error_message is None or not info.pending_update_count:
        return ""
    return f"{info.pending_update_count} updates wait; the last call failed: {info.last_error_message}"


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
    why = report.deaf_in_english(heard.get("why") or "ops-deaf-unasked")
    return f"none for {seconds:.0f} s: {why}" if TELEGRAM.level(seconds) else ""


async def _providers(settings: Settings) -> AsyncIterator[Finding]:
    if not settings.providers:
        keys = " or ".join(map(key_of, provider_clients()))
        yield Finding("providers", False, f"none has a key: set {keys}")
        return
    # The providers alone: whatever is wrong with Redis was said above.
    known = settings.model_copy(update={"redis_url": settings.redis_url or "redis://localhost"})
    async with open_app(known) as app:
        # Side by side: each may have to be waited for.
        checks = [provider.check() for provider in app.providers.values()]
        if app.words is not None:
            checks.append(app.words.check())
        names = [*((name, name) for name in app.providers), ("words", "text")]
        for (name, client), health in zip(names, await asyncio.gather(*checks), strict=False):
            yield Finding(name, health.ok, health.detail + _way(settings, client, well=health.ok))


async def _one(settings: Settings, name: str, pay: bool) -> AsyncIterator[Finding]:
    if name not in settings.providers:
        clients = provider_clients()
        only = f"there is no such provider, only {', '.join(clients)}"
        yield Finding(name, False, f"has no key: set {key_of(name)}" if name in clients else only)
        return
    known_redis = settings.model_copy(update={"redis_url": settings.redis_url or "redis://localhost"})
    async with open_app(known_redis) as app:
        health = await app.providers[name].check()
        yield Finding(name, health.ok, health.detail + _way(settings, name, well=health.ok))
        if pay:
            yield Finding(name, *await make_one(app, name))


def _way(settings: Settings, client: str, *, well: bool = True) -> str:
    proxy = settings.way(client).shown
    if not proxy or well:
        return f" (through the proxy {proxy})" if proxy else ""
    own = f"{client}_proxy_url"
    name = own if getattr(settings, own, None) else "proxy_url"
    return f", and first the proxy {proxy} of {name.upper()}"


async def _pages(settings: Settings) -> AsyncIterator[Finding]:
    """The Mini App, which Telegram opens from outside."""
    if (url := settings.mini_app) is None:
        return
    wrong = f"must be https://<your host>/app of `imagebot api`: check {'MINI_APP_URL' if settings.mini_app_url else 'WEBHOOK_URL'} and the proxy before it"
    try:
        async with httpx.AsyncClient(timeout=_CONNECT_SECONDS, follow_redirects=True) as client:
            answer = await client.get(url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        yield Finding(
            "Mini App", False, f"{url} does not answer from here ({type(error).__name__}): it {wrong}"
        )
        return
    ours = answer.is_success and "telegram.org" in answer.headers.get("content-security-policy", "")
    yield Finding(
        "Mini App",
        ours,
        f"{url} shows it" if ours else f"{url} shows something else ({answer.status_code}): it {wrong}",
    )


async def _telemetry(settings: Settings) -> AsyncIterator[Finding]:
    given = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    endpoint = given or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if not endpoint:
        yield Finding("OTLP", True, "OTEL_EXPORTER_OTLP_ENDPOINT is not set: no traces are sent")
        return
    try:
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        known = parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        yield Finding(
            "OTLP", False, "OTEL_EXPORTER_OTLP_ENDPOINT is no address: http://host:4318 is expected"
        )
        return
    shown, connects = _connects(parts)
    if not connects:
        yield Finding("OTLP", False, f"{shown} takes no connection: is the collector running?")
        return
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
        "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
    )
    if protocol == "grpc":
        exporter = OTLPSpanExporter(timeout=_CONNECT_SECONDS)
        taken = await asyncio.to_thread(exporter.export, ()) is SpanExportResult.SUCCESS
        exporter.shutdown()
        wrong = "takes no traces by gRPC: its port is usually 4317; for 4318 set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"
        yield Finding("OTLP", taken, f"{shown} {'takes traces' if taken else wrong}")
    elif parts.scheme not in ("http", "https"):
        yield Finding("OTLP", False, f"{shown} needs http:// or https:// before it")
    elif not given and parts.path.rstrip("/").endswith("/v1/traces"):
        yield Finding(
            "OTLP", False, "OTEL_EXPORTER_OTLP_ENDPOINT ends in /v1/traces, which is added to it: take it off"
        )
    else:
        yield await _traces_at(given or f"{endpoint.rstrip('/')}/v1/traces")


def _connects(parts: SplitResult) -> tuple[str, bool]:
    """An address's host and port, and whether anybody is there."""
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_SECONDS):
            return f"{host}:{port}", True
    except (OSError, UnicodeError):
        return f"{host}:{port}", False


async def _alarm(settings: Settings) -> AsyncIterator[Finding]:
    if settings.heartbeat_url is None:
        return
    # A call would say that the bot is well.
    shown, connects = _connects(urlsplit(settings.heartbeat_url.get_secret_value()))
    wrong = "takes no connection: check HEARTBEAT_URL and this machine's network"
    yield Finding("dead man's switch", connects, f"{shown} {'takes connections' if connects else wrong}")


async def _traces_at(url: str) -> Finding:
    """Send an export of nothing, which only one who takes traces accepts."""
    said = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS") or os.environ.get(
        "OTEL_EXPORTER_OTLP_HEADERS", ""
    )
    given = parse_env_headers(said, liberal=True)
    headers = {**given, "Content-Type": "application/x-protobuf"}
    shown = safe_url(url)
    if len(given) < len([pair for pair in said.split(",") if pair.strip()]):
        return Finding(
            "OTLP",
            False,
            "OTEL_EXPORTER_OTLP_HEADERS cannot be read: name=value,name=value is expected, URL-encoded",
        )
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_CONNECT_SECONDS) as client:
            answer = await client.post(url, headers=headers)
            status = answer.status_code
    except httpx.RemoteProtocolError:
        return Finding(
            "OTLP",
            False,
            f"{shown} speaks no HTTP/1: gRPC's port is 4317, HTTP's 4318; or set OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
        )
    except httpx.HTTPError as error:
        return Finding("OTLP", False, f"{shown} does not answer ({type(error).__name__}): check the endpoint")
    if status in (401, 403):
        return Finding("OTLP", False, f"{shown} refuses us ({status}): check OTEL_EXPORTER_OTLP_HEADERS")
    if status >= 300 or "html" in answer.headers.get("content-type", ""):
        return Finding(
            "OTLP",
            False,
            f"{shown} takes no traces ({status}): check OTEL_EXPORTER_OTLP_ENDPOINT, usually port 4318",
        )
    return Finding("OTLP", True, f"{shown} takes traces")
