"""What the people of a load run note of each wish, from what their chats show alone."""

from __future__ import annotations

import time
from typing import Any

import pytest

from src.load.seen import Asked, Seen, Watched
from src.sandbox.telegram import DEMO_STORE, Message, Person, TelegramSandbox

CANCEL = {"inline_keyboard": [[{"text": "Cancel", "callback_data": "r:cancel:1"}]]}
AGAIN = {"inline_keyboard": [[{"text": "Again", "callback_data": "j:again:1"}]]}


class Chat:
    """A person with the bot, whose part the test plays."""

    def __init__(self) -> None:
        self.telegram = TelegramSandbox()
        self.seen = Seen(self.telegram, store=DEMO_STORE)
        self.person: Person = self.telegram.person()

    async def ask(self, count: int = 1) -> tuple[Message, Watched]:
        message = await self.person.send_text("a fox")
        chat, update = self.person.id, str(message.update_id)
        asked = Asked(chat, chat, "single", "a fox", count, time.time(), (update,))
        return message, self.seen.expect(asked, [message])

    def say(self, answered: Message | None, text: str, markup: dict[str, Any] | None = None) -> Message:
        return self.telegram.bot.add_message(
            self.person.chat,
            self.telegram.bot.as_user(),
            {"text": text},
            method="sendMessage",
            markup=markup,
            reply_to=answered and answered.message_id,
        )

    def change(
        self, message: Message, content: dict[str, Any], *, method: str = "editMessageText", **more: Any
    ) -> None:
        markup, sha256 = more.get("markup"), more.get("sha256")
        self.telegram.bot.edit_message(message, content, markup, method=method, sha256=sha256)

    def picture(self, message: Message, sha256: str) -> None:
        photo = {"photo": [{"file_id": sha256}], "caption": "a fox"}
        self.change(message, photo, method="editMessageMedia", markup=AGAIN, sha256=sha256)


@pytest.fixture
def chat() -> Chat:
    return Chat()


async def test_a_wish_is_over_when_all_its_pictures_are_there(chat: Chat) -> None:
    message, wish = await chat.ask(count=2)
    first, second = (chat.say(message, "soon", CANCEL) for _ in range(2))
    assert wish.asked.answered is not None
    assert not wish.over.is_set()
    chat.picture(first, "1")
    assert not wish.over.is_set()
    assert chat.seen.open == [wish.asked]
    chat.picture(second, "2")
    assert wish.over.is_set()
    assert wish.asked.ended == "pictures"
    assert chat.seen.open == []
    assert (wish.asked.calls, wish.asked.extra, chat.seen.besides) == (4, 0, 0)
    assert chat.seen.wish_of(second) is wish.asked
    # Buttons that change under it, and what answers nobody's wish, are calls besides it; a ping is not.
    chat.change(second, second.content, method="editMessageReplyMarkup", markup=CANCEL, sha256="2")
    chat.say(None, "Models")
    chat.say(second, "It is ready")
    assert (wish.asked.calls, chat.seen.besides) == (5, 2)


async def test_last_words_tell_how_a_wish_ended(chat: Chat) -> None:
    message, refused = await chat.ask()
    chat.say(message, "Too many")
    message, failed = await chat.ask()
    chat.change(chat.say(message, "soon", CANCEL), {"text": "It failed"})
    message, cancelled = await chat.ask()
    cancelled.asked.took_back = True
    chat.change(chat.say(message, "soon", CANCEL), {"text": "Cancelled"})
    _, tapped = await chat.ask()
    chat.seen.refuse(tapped, "Not now")
    wishes = (refused, failed, cancelled, tapped)
    assert [wish.asked.ended for wish in wishes] == ["refused", "failed", "cancelled", "refused"]
    assert [wish.asked.last for wish in wishes] == ["Too many", "It failed", "Cancelled", "Not now"]


async def test_what_was_sent_through_the_bot_and_not_taken_is_a_refusal(chat: Chat) -> None:
    message, wish = await chat.ask()
    make = {"inline_keyboard": [[{"text": "Draw", "callback_data": "i:1:2"}]]}
    chat.change(chat.say(message, "soon", CANCEL), {"text": "No pictures left"}, markup=make)
    assert wish.asked.ended == "refused"


async def test_silence_is_a_refusal_only_where_the_words_were_just_said(chat: Chat) -> None:
    _, silent = await chat.ask()
    chat.seen.not_admitted(silent.asked.updates)
    assert not silent.over.is_set()
    message, _ = await chat.ask()
    chat.say(message, "Too many")
    chat.seen.not_admitted(silent.asked.updates)
    assert silent.over.is_set()
    assert (silent.asked.ended, silent.asked.unsaid) == ("refused", True)
