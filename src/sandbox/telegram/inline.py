"""Inline mode: what a person finds by `@bot words` in any chat, and what becomes of what they send of it.

The bot answers a query; of the message that its person sends it knows no chat, only an `inline_message_id`, and that only
where there are buttons under it. Telegram can take no upload into such a message, and cannot say what is in it.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from src.sandbox.telegram.errors import bad_request
from src.sandbox.telegram.records import Chat, Content, Event, Message, PersonRecord

if TYPE_CHECKING:
    from src.sandbox.telegram.bot import Bot

LONGEST_QUERY = 256
"""Characters; a client cuts what is longer."""

_ANSWER_SECONDS = 30.0
_QUERIES_KEPT = 1_000
# Beyond all groups of the bot's.
_ELSEWHERE = -(10**11)


@dataclass(frozen=True)
class Result:
    """One thing that a person can send: as the bot gave it, and the message that it becomes."""

    id: str
    given: dict[str, Any]
    content: Content
    sha256: str | None
    markup: dict[str, Any] | None


@dataclass
class Answer:
    """What a bot has answered; `button` stands above the results."""

    results: list[Result]
    next_offset: str
    button: dict[str, Any] | None
    personal: bool
    until: float
    """Unix time until which Telegram answers the same query so by itself."""

    def result(self, wanted: str) -> Result:
        """The result of that id, or else with that in its title; LookupError if there is none."""
        for result in self.results:
            if result.id == wanted or wanted in str(result.given.get("title", "")):
                return result
        raise LookupError(f"no result {wanted!r} among {[result.given for result in self.results]}")


@dataclass
class Query:
    """A query that a bot was told of."""

    id: str
    person: PersonRecord
    words: str
    offset: str
    asked_at: float
    answer: Answer | None = None

    @property
    def is_over(self) -> bool:
        """It is too late to answer it, or was answered."""
        return self.answer is not None or time.time() - self.asked_at > _ANSWER_SECONDS


@dataclass
class Inline:
    """What one bot has of inline mode. `enabled`, `feedback`: @BotFather's switches, the second is off at first."""

    enabled: bool = True
    feedback: bool = False
    messages: dict[str, Message] = field(default_factory=dict)
    """Those that the bot can change, by the ids it knows them by."""
    queries: OrderedDict[str, Query] = field(default_factory=OrderedDict)
    _elsewhere: int = 0

    def ask(self, bot: Bot, person: PersonRecord, words: str, offset: str, chat_type: str) -> Query:
        """Tells the bot of a query, unless the answer to the same one still counts."""
        now = time.time()
        query = Query(str(secrets.randbelow(10**18) + 10**17), person, words, offset, now)
        for known in self.queries.values():
            answer, same = known.answer, (known.words, known.offset) == (words, offset)
            if (
                answer
                and same
                and answer.until > now
                and (known.person.id == person.id or not answer.personal)
            ):
                query.answer = answer
                break
        self.queries[query.id] = query
        if len(self.queries) > _QUERIES_KEPT:
            self.queries.popitem(last=False)
        if query.answer is not None:
            return query
        told = {"id": query.id, "from": person.as_user(), "query": words, "offset": offset}
        bot.updates.push("inline_query", {**told, "chat_type": chat_type}, person.id)
        return query

    def answer(self, bot: Bot, query: Query, answer: Answer) -> None:
        query.answer = answer
        shown = [{**result.given, **result.content} for result in answer.results]
        bot.feed.tell(Event("inline", {"query_id": query.id, "results": shown}, query.person.id))

    def elsewhere(self, person: PersonRecord) -> Chat:
        """A conversation that the bot is not in and knows nothing of."""
        self._elsewhere += 1
        return Chat(_ELSEWHERE - self._elsewhere, "group", "elsewhere", members={person.id})

    def send(self, bot: Bot, query: Query, result: Result, chat: Chat) -> Message:
        """The person sends a result: the message in that chat, and what the bot is told of it."""
        message = bot.add_message(
            chat,
            query.person.as_user(),
            {**result.content, "via_bot": bot.as_user()},
            method="person",
            markup=result.markup,
            sha256=result.sha256,
            inline_id=secrets.token_urlsafe(20) if result.markup else None,
        )
        if message.inline_id is not None:
            self.messages[message.inline_id] = message
        if self.feedback:
            chosen = {"result_id": result.id, "from": query.person.as_user(), "query": query.words}
            if message.inline_id is not None:
                chosen["inline_message_id"] = message.inline_id
            bot.note_update(message, bot.updates.push("chosen_inline_result", chosen, query.person.id))
        return message

    def message(self, inline_id: str) -> Message:
        """The message of that id; raises ApiError unless it is there."""
        message = self.messages.get(inline_id)
        if message is None or message.deleted:
            raise bad_request("MESSAGE_ID_INVALID")
        return message
