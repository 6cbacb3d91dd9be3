"""Groups as Telegram has them: rights by kind of media, slow mode, closed topics, roles, privacy, shared senders."""

from __future__ import annotations

import pytest
from aiogram import Bot
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError, TelegramRetryAfter
from aiogram.types import (
    BufferedInputFile,
    ChatMemberAdministrator,
    ChatMemberRestricted,
    InputMediaDocument,
    InputMediaPhoto,
    Update,
)

from src.sandbox.telegram import Person, TelegramSandbox
from tests.sandbox.conftest import Picture


async def heard(bot: Bot, offset: int = 0) -> list[Update]:
    return await bot.get_updates(offset=offset, timeout=0)


async def test_rights_by_kind_of_media(
    telegram: TelegramSandbox, bot: Bot, anna: Person, picture: Picture
) -> None:
    group = telegram.group("Zoo", [anna])
    sent = await bot.send_message(group.id, "here")
    group.permissions["can_send_photos"] = False
    photo = BufferedInputFile(picture(), "a.png")
    why = "not enough rights to send photos to the chat"
    with pytest.raises(TelegramBadRequest, match=why):
        await bot.send_photo(group.id, photo)
    with pytest.raises(TelegramBadRequest, match=why):
        await bot.send_media_group(group.id, [InputMediaPhoto(media=photo)] * 2)
    with pytest.raises(TelegramBadRequest, match=why):
        await bot.edit_message_media(
            InputMediaPhoto(media=photo), chat_id=group.id, message_id=sent.message_id
        )
    await bot.edit_message_media(
        InputMediaDocument(media=photo), chat_id=group.id, message_id=sent.message_id
    )
    permissions = (await bot.get_chat(group.id)).permissions
    assert permissions is not None
    assert (permissions.can_send_photos, permissions.can_send_documents) == (False, True)
    group.permissions["can_send_messages"] = False
    with pytest.raises(TelegramBadRequest, match="not enough rights to send text messages"):
        await bot.send_message(group.id, "x")
    telegram.set_role(group, None, "administrator", by=anna)
    await bot.send_photo(group.id, photo)


async def test_roles_are_told(telegram: TelegramSandbox, bot: Bot, anna: Person) -> None:
    group = telegram.group("Zoo", [anna])
    telegram.set_role(group, None, "restricted", by=anna, can_send_photos=False)
    member = await bot.get_chat_member(group.id, bot.id)
    assert isinstance(member, ChatMemberRestricted)
    assert (member.can_send_photos, member.can_send_messages) == (False, True)
    telegram.set_role(group, anna, "administrator", by=anna)
    assert isinstance(await bot.get_chat_member(group.id, anna.id), ChatMemberAdministrator)
    telegram.set_role(group, None, "kicked", by=anna)
    with pytest.raises(TelegramForbiddenError, match="bot was kicked from the supergroup chat"):
        await bot.send_message(group.id, "x")
    told = [update.my_chat_member for update in await heard(bot) if update.my_chat_member]
    assert [member.new_chat_member.status for member in told] == ["restricted", "kicked"]


async def test_slow_mode_and_closed_topics(telegram: TelegramSandbox, bot: Bot, anna: Person) -> None:
    group = telegram.group("Zoo", [anna], topics=["art"])
    group.slow_mode = 60
    sent = await bot.send_message(group.id, "one")
    with pytest.raises(TelegramRetryAfter):
        await bot.send_message(group.id, "two")
    await bot.edit_message_text("other", chat_id=group.id, message_id=sent.message_id)
    assert (await bot.get_chat(group.id)).slow_mode_delay == 60
    group.slow_mode = 0
    group.closed_topics.add(2)
    with pytest.raises(TelegramBadRequest, match="TOPIC_CLOSED"):
        await bot.send_message(group.id, "x", message_thread_id=2)


async def test_a_thread_of_a_group_without_topics_is_taken(
    telegram: TelegramSandbox, bot: Bot, anna: Person
) -> None:
    group = telegram.group("Zoo", [anna])
    assert (await bot.send_message(group.id, "x", message_thread_id=9)).message_thread_id is None


async def test_privacy_hides_what_is_not_for_the_bot(
    telegram: TelegramSandbox, bot: Bot, anna: Person
) -> None:
    group = telegram.group("Zoo", [anna])
    name = "imagebot_sandbox_bot"
    for text in ("/a", "/b@other_bot", f"/c@{name}", f"d @{name}", f"e @{name}2", "f"):
        await anna.send_text(text, chat=group)
    group.other_bots = True
    await anna.send_text("/g", chat=group)
    sent = await bot.send_message(group.id, "it speaks last")
    await anna.send_text("/h", chat=group)
    await anna.send_text("i", chat=group, reply_to=group.messages[sent.message_id])
    telegram.set_role(group, None, "administrator", by=anna)
    await anna.send_text("j", chat=group)
    texts = [update.message.text for update in await heard(bot) if update.message and update.message.text]
    assert [text[:2] for text in texts] == ["/s", "/a", "/c", "d ", "/h", "i", "j"]


async def test_shared_senders_and_a_move(telegram: TelegramSandbox, bot: Bot, anna: Person) -> None:
    group, channel = telegram.group("Zoo", [anna], type="group"), telegram.group("News", [], type="channel")
    await anna.send_text("/as_admin", chat=group, as_chat=group)
    await anna.send_text("/as_channel", chat=group, as_chat=channel)
    moved = telegram.migrate(group)
    messages = [update.message for update in await heard(bot) if update.message]
    _, admin, other, old, new = messages
    for message, user, chat in ((admin, 1087968824, group.id), (other, 136817688, channel.id)):
        assert message.from_user is not None
        assert message.sender_chat is not None
        assert (message.from_user.id, message.sender_chat.id) == (user, chat)
    assert (old.chat.id, old.migrate_to_chat_id) == (group.id, moved.id)
    assert (new.chat.id, new.migrate_from_chat_id) == (moved.id, group.id)
