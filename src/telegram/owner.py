"""Word to the owner, at once, of what only the owner can mend: money, a key, a model, a host.

Once for each provider and reason until the provider works again, or six hours have gone by. Not here: figures that
stay bad (`src.ops.alerts`), which take their time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import structlog
from aiogram import Bot
from aiogram.exceptions import TelegramAPIError

from src.app import App
from src.jobs import keys
from src.jobs.spending import DAY
from src.providers.base import ErrorKind, ProviderError
from src.telegram.i18n import Translator, get_texts, language_of

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 6 * 3600
_HOUR = 3600.0
_REASONS = {
    ErrorKind.QUOTA: "owner-quota",
    ErrorKind.AUTH: "owner-key",
    ErrorKind.MODEL_GONE: "owner-model",
}


class Owner:
    """What one worker process tells `ADMIN_IDS`."""

    def __init__(self, app: App, bot: Bot) -> None:
        self._app = app
        self._bot = bot
        self._passed: dict[str, float] = {}

    async def failed(self, provider: str, model: str, error: ProviderError) -> None:
        """A provider refused: tell the owner if it is theirs to mend."""
        if error.kind is ErrorKind.RATE_LIMITED:
            if await self._limited_for_a_day(provider):
                await self._tell(provider, "owner-limited", model=model)
        elif error.host is not None:
            await self._tell(provider, "owner-host", model=model, host=error.host)
        elif error.kind in _REASONS:
            await self._tell(provider, _REASONS[error.kind], model=model)

    async def no_storage(self) -> None:
        """Inline mode's pictures cannot be stored."""
        await self._tell("telegram", "owner-storage")

    async def passed(self, provider: str, *, mended: bool) -> None:
        """A provider works; `mended`: it did not before, so what it fails of next is news."""
        now = time.time()
        if mended:
            reasons = (*_REASONS.values(), "owner-limited", "owner-host")
            await self._app.redis.delete(*(keys.TOLD(provider, reason) for reason in reasons))
        # Known by the hour is enough, and costs next to nothing.
        if now - self._passed.get(provider, 0.0) >= _HOUR:
            self._passed[provider] = now
            await self._app.redis.delete(keys.LIMITED(provider))

    async def _limited_for_a_day(self, provider: str) -> bool:
        """Whether this provider has said nothing but "too often" for a day: some gateways say so of no money."""
        # The next one that passes is to be known of.
        self._passed.pop(provider, None)
        key = keys.LIMITED(provider)
        await self._app.redis.set(key, f"{time.time():.0f}", nx=True, ex=7 * DAY)
        since = await self._app.redis.get(key)
        return time.time() - float(since or time.time()) >= DAY

    async def _tell(self, provider: str, reason: str, **facts: str) -> None:
        key = keys.TOLD(provider, reason)
        if not await self._app.redis.set(key, "1", nx=True, ex=_AGAIN_SECONDS):
            return
        log.error("for the owner to mend", provider=provider, reason=reason, **facts)
        if not await tell_admins(self._app, self._bot, lambda say: say(reason, provider=provider, **facts)):
            await self._app.redis.delete(key)


async def languages(app: App) -> dict[int, str]:
    """What each admin reads."""
    people = {admin: await app.ledger.person(str(admin)) for admin in app.settings.admin_ids}
    return {admin: language_of(person.lang, person.spoken) for admin, person in people.items()}


async def tell_admins(
    app: App, bot: Bot, words: Callable[[Translator], str], known: Mapping[int, str] | None = None
) -> bool:
    """Send to every admin in their language; whether anyone was reached, or there are no admins.

    Args:
        known: their languages, where Redis cannot be asked.
    """
    reached = not app.settings.admin_ids
    langs = await languages(app) if known is None else known
    for admin in app.settings.admin_ids:
        try:
            await bot.send_message(admin, words(get_texts().translator(langs.get(admin, "en"))))
            reached = True
        except TelegramAPIError as error:
            # One who never opened a chat with the bot cannot be written to.
            log.warning("admin not told", admin=admin, error=type(error).__name__)
    return reached
