"""Updates of every kind with anything in them: the bot goes on answering."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from src.sandbox.telegram import Person
from tests.bot.bot_world import World

_KINDS = (
    "message",
    "edited_message",
    "channel_post",
    "callback_query",
    "inline_query",
    "chosen_inline_result",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "poll",
    "poll_answer",
    "message_reaction",
    "pre_checkout_query",
    "business_message",
    "something_new",
)
_WORDS = (
    "",
    " ",
    "/start",
    "/create",
    "/create a fox",
    "/imagine@imagebot_sandbox_bot a fox",
    "/queue",
    "/cancel",
    "/history",
    "/settings",
    "/help",
    "/unknown",
    "/jobs list",
    "/start x" * 20,
    "<b>bold</b> *bold* [x](tg://user?id=1) `",
    "\u202e\u200b\u0000\ufeff",
    "👩\u200d👩\u200d👧\u200d👦" * 500,
    "\U0001f98a" * 4096,
    "a" * 4097,
    "\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
    "{0} {say} %s %(x)s {{ $x }}",
    "../../etc/passwd",
    "'; FLUSHALL\r\n*1\r\n$8\r\nFLUSHALL\r\n",
)
_DATA = ("d", "s", "q", "x", "j", "r", "a", "again", "words", "cancel", "file", "go", "aspect", "count", "")
_CONTENT: tuple[dict[str, Any], ...] = (
    {"photo": [{"file_id": "x", "file_unique_id": "y", "width": 1, "height": 1}]},
    {"photo": []},
    {"document": {"file_id": "x", "file_unique_id": "y", "mime_type": "image/png", "file_size": 10**12}},
    {"document": {"file_id": "x", "file_unique_id": "y"}},
    {"sticker": {"file_id": "x", "file_unique_id": "y", "type": "regular", "width": 1, "height": 1}},
    {"voice": {"file_id": "x", "file_unique_id": "y", "duration": -1}},
    {"location": {"latitude": 0.0, "longitude": 0.0}},
    {"contact": {"phone_number": "1", "first_name": "x"}},
    {"dice": {"emoji": "🎲", "value": 6}},
    {"new_chat_members": []},
    {"migrate_to_chat_id": -1001},
    {"unheard_of": {"a": [None]}},
    {},
)


@pytest.fixture
def settings_of_world() -> dict[str, object]:
    return {"rate_limit": 10_000, "max_active_per_user": 10_000, "max_waiting": 100_000}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("seed", "number"), [(1, 300), pytest.param(2, 10_000, marks=pytest.mark.soak)])
async def test_the_bot_still_answers(world: World, seed: int, number: int) -> None:
    chance = random.Random(seed)
    ann = world.sandbox.person("Ann")
    await ann.send_text("/start")
    await ann.wait_for(lambda m: m.from_bot)
    updates = world.sandbox.bot.updates
    updates.allowed = {*_KINDS}
    for _ in range(number):
        kind, body = _update(chance, ann)
        updates.push(kind, body, chance.choice([ann.id, 0]))
    await world.settled(within=500)
    bob = world.sandbox.person("Bob")
    question = await bob.send_text("/help")
    assert (await bob.reply_after(question)).text
    # Most were handled, not only thrown away with what could not be read.
    answers = sum(call.status == 200 and call.method.startswith("send") for call in world.sandbox.audit.of())
    assert answers > number / 20
    assert not any(task.done() for task in world.running)


def _update(chance: random.Random, ann: Person) -> tuple[str, dict[str, Any]]:
    kind = chance.choice(_KINDS) if chance.random() < 0.2 else chance.choice(["message", "callback_query"])
    user = chance.choice([ann.record.as_user(), {"id": 2**52, "is_bot": False, "first_name": "\u202e"}])
    if kind == "callback_query":
        return kind, {
            "id": str(chance.randrange(10**18)),
            "from": user,
            "chat_instance": "1",
            "data": _data(chance),
            **({"message": _message(chance, user, ann)} if chance.random() < 0.8 else {}),
        }
    if kind in ("message", "edited_message", "channel_post", "business_message"):
        return kind, _message(chance, user, ann)
    if kind == "inline_query":
        return kind, {"id": "1", "from": user, "query": chance.choice(_WORDS), "offset": ""}
    return kind, {"from": user, "chat": ann.chat.as_json(), "date": int(time.time())}


def _message(chance: random.Random, user: dict[str, Any], ann: Person) -> dict[str, Any]:
    chats = [
        ann.chat.as_json(),
        {"id": -100123, "type": "supergroup", "title": "G"},
        {"id": 5, "type": "channel", "title": "C"},
    ]
    message: dict[str, Any] = {
        "message_id": chance.randrange(1, 10_000),
        "date": chance.choice([0, int(time.time())]),
        "chat": chance.choice(chats),
        "from": user,
    }
    if chance.random() < 0.5:
        message["text"] = chance.choice(_WORDS)
    else:
        message |= chance.choice(_CONTENT)
        message["caption"] = chance.choice(_WORDS)
    if chance.random() < 0.2:
        message["entities"] = [
            {"type": chance.choice(["bot_command", "mention", "new"]), "offset": 10**6, "length": 3}
        ]
    if chance.random() < 0.1:
        message["media_group_id"] = "1"
    if chance.random() < 0.02:
        del message[chance.choice(["message_id", "date", "chat"])]
    return message


def _data(chance: random.Random) -> str:
    """Callback data: a known prefix with anything behind it."""
    rest = [
        chance.choice((*_DATA, "-1", "9" * 40, "none", "16:9", "\u202e")) for _ in range(chance.randrange(4))
    ]
    return chance.choice(":|").join([chance.choice(_DATA), *rest])[:64]


@pytest.mark.parametrize("words", ["<b>x</b>", "*x* _y_ `z`", "[x](tg://user?id=1)", "<a href='http://e'>x"])
async def test_a_persons_words_are_never_markup(world: World, words: str) -> None:
    ann = world.sandbox.person("Ann")
    await ann.send_text(words)
    await world.settled()
    await ann.send_text("/queue")
    await ann.wait_for(lambda m: m.from_bot)
    await world.settled()
    calls = [
        call for call in world.sandbox.audit.of(chat_id=ann.id) if call.method.startswith(("send", "edit"))
    ]
    assert calls
    assert not any(call.payload.get("parse_mode") for call in calls)
