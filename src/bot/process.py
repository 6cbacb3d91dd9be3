"""The bot process: its dispatcher, its command menus, and its life from start to SIGTERM."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import dramatiq
import structlog
from aiogram import Bot, Dispatcher
from aiogram.exceptions import TelegramAPIError
from aiogram.fsm.storage.base import DefaultKeyBuilder
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import (
    BotCommand,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
    BotCommandScopeUnion,
    MenuButtonDefault,
    MenuButtonWebApp,
    WebAppInfo,
)

from observability.aiogram import instrument_dispatcher
from src.app import App, cancel_all, open_app
from src.bot.broadcasting import Broadcasting
from src.bot.chats import Chats
from src.bot.estimates import Outlook
from src.bot.handlers import (
    admin,
    broadcast,
    create,
    gallery,
    groups,
    history,
    inline,
    journal,
    limits,
    models,
    paying,
    people,
    privacy,
    queue,
    rules,
    settings,
    sharing,
    start,
    stats,
    styles,
    switches,
    waiting,
    words,
)
from src.bot.handling import Handling
from src.bot.inbox import Inbox
from src.bot.middlewares import Found, Speaker, apologise
from src.bot.ordering import Asking
from src.bot.polling import Poller, keep_webhook
from src.bot.progress import Progress
from src.bot.till import Reconciling
from src.jobs import keys
from src.ops.alerts import Alerts
from src.ops.hearing import Hearing
from src.ops.heartbeat import Heartbeat
from src.ops.monitor import Monitor
from src.settings import Settings
from src.telegram.client import make_bot
from src.telegram.i18n import LANGUAGES, Texts, get_texts
from src.telegram.messages import Messages
from src.telegram.placeholders import Placeholders
from src.worker.broker import make_broker

log = structlog.get_logger(__name__)

_DIALOG_SECONDS = 86_400
# For what was on its way to Telegram when the bot was told to end.
_SENDINGS_SECONDS = 3.0
# For all that is left to do then.
_LEAVING_SECONDS = 6.0
_PRIVATE_COMMANDS = (
    "create",
    "queue",
    "cancel",
    "history",
    "styles",
    "models",
    "settings",
    "limits",
    "privacy",
    "help",
)
_ADMIN_COMMANDS = ("stats", "ops", "who", "pause", "resume", "switches", "broadcast", "journal", "jobs")
# It is the same in every language.
_MENU_BUTTON = "🖼"
_SHOP_COMMANDS = ("buy", "balance", "paysupport", "terms")


@dataclass(frozen=True, slots=True)
class BotParts:
    """What turns updates into answers, in any process that receives them."""

    dispatcher: Dispatcher
    progress: Progress
    placeholders: Placeholders


def make_dispatcher(app: App, bot: Bot, texts: Texts) -> BotParts:
    """The dispatcher with every conversation, and the progress loop that belongs to it (not started)."""
    messages = Messages(bot, app.ledger, texts, app.settings, edits=app.routing.offered().edit)
    outlook = Outlook(app)
    chats = Chats(app, bot)
    storage = RedisStorage(
        app.redis,
        DefaultKeyBuilder(prefix=keys.DIALOG.prefix, with_bot_id=True),
        state_ttl=_DIALOG_SECONDS,
        data_ttl=_DIALOG_SECONDS,
    )
    dispatcher = Dispatcher(
        storage=storage,
        app=app,
        texts=texts,
        messages=messages,
        outlook=outlook,
        chats=chats,
        asking=Asking(app, bot, chats, messages, outlook),
    )
    instrument_dispatcher(dispatcher)
    dispatcher.update.outer_middleware(Speaker(app, texts))
    dispatcher.update.outer_middleware(Found(app, messages.placeholders))
    dispatcher.message.outer_middleware(groups.OnlyAddressed())
    dispatcher.errors.register(apologise)
    # The last three take any words.
    conversations = (
        paying,
        inline,
        sharing,
        start,
        admin,
        journal,
        people,
        switches,
        stats,
        broadcast,
        queue,
        rules,
        settings,
        models,
        styles,
        limits,
        waiting,
        gallery,
        history,
        privacy,
        groups,
        words,
        create,
    )
    dispatcher.include_routers(*(module.make_router() for module in conversations), start.make_fallback())
    return BotParts(dispatcher, Progress(app, messages, outlook), messages.placeholders)


async def run_bot(settings: Settings) -> None:
    """Handle updates and show progress until SIGTERM or SIGINT; what is under way is finished."""
    broker = make_broker(settings)
    dramatiq.set_broker(broker)
    async with open_app(settings) as app:
        bot = make_bot(settings, app.limiter, priority="answer")
        parts = make_dispatcher(app, bot, get_texts())
        inbox = Inbox(app)
        handling = Handling(app, inbox, bot, parts.dispatcher)
        hearing = Hearing(app.ledger)
        receiving: list[Handling | Poller] = [handling]
        if settings.webhook_url is None:
            receiving.append(Poller(bot, parts.dispatcher, inbox, handling, hearing))
        _stop_on_signals(receiving)
        monitor = Monitor(app, Alerts(app, bot))
        heartbeat = Heartbeat(app, "bot", lambda: hearing.ailment)
        broadcasting = Broadcasting(app, bot)
        works = [part.run() for part in (parts.progress, monitor, heartbeat, broadcasting)]
        reconciling = Reconciling(app, bot, get_texts())
        if settings.sells:
            works.append(reconciling.run())
        if settings.webhook_url is not None:
            works.append(keep_webhook(settings, bot, parts.dispatcher, handling, hearing))
        # Telegram may take a minute to refuse them; nobody's message waits for that.
        background = [
            asyncio.create_task(work) for work in (*works, show_commands(bot, get_texts(), settings))
        ]
        try:
            log.info("bot started", bot_id=bot.id)
            await asyncio.gather(*(part.run() for part in receiving))
        finally:
            await cancel_all(background)
            steps = (
                parts.placeholders.finish(_SENDINGS_SECONDS),
                *(part.resign() for part in (parts.progress, monitor, broadcasting, reconciling)),
                heartbeat.retire(),
            )
            # Side by side: each may wait for Redis, which may be away.
            await asyncio.wait([asyncio.create_task(step) for step in steps], timeout=_LEAVING_SECONDS)
            await bot.session.close()
            log.info("bot stopped")


async def show_commands(bot: Bot, texts: Texts, settings: Settings) -> None:
    """Give Telegram the command menus, in each language, and the button that opens the Mini App; without them the bot
    works as well."""
    try:
        shown = await bot.get_chat_menu_button()
        # One that the owner gave by BotFather stays.
        if shown.text in (None, _MENU_BUTTON):
            if settings.mini_app is not None:
                page = MenuButtonWebApp(text=_MENU_BUTTON, web_app=WebAppInfo(url=settings.mini_app))
                await bot.set_chat_menu_button(menu_button=page)
            elif shown.text:
                await bot.set_chat_menu_button(menu_button=MenuButtonDefault())
    except TelegramAPIError as error:
        log.warning("no menu button", error=type(error).__name__)
    private = (*_PRIVATE_COMMANDS, *(_SHOP_COMMANDS if settings.sells else ()))
    scopes: tuple[tuple[BotCommandScopeUnion, Sequence[str]], ...] = (
        *((BotCommandScopeChat(chat_id=id_), (*_ADMIN_COMMANDS, *private)) for id_ in settings.admin_ids),
        (BotCommandScopeAllPrivateChats(), private),
        (BotCommandScopeAllGroupChats(), groups.COMMANDS),
    )
    for lang in LANGUAGES:
        for scope, names in scopes:
            commands = [
                BotCommand(command=name, description=texts.get(lang, f"command-{name}")) for name in names
            ]
            try:
                # English is for everybody whose language has no menu of its own.
                await bot.set_my_commands(commands, scope=scope, language_code=None if lang == "en" else lang)
            except TelegramAPIError as error:
                log.warning("no command menu", language=lang, error=type(error).__name__)


def _stop_on_signals(receiving: Sequence[Handling | Poller]) -> None:
    def stop() -> None:
        for part in receiving:
            part.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Where a loop has no signal handlers (a test's thread, Windows) the default ones stay.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, stop)
