"""aiogram itself as the client: every method the bot uses does over a socket what Telegram does."""

from __future__ import annotations

import hashlib
import io

import pytest
from aiogram import Bot
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    ReactionTypeEmoji,
    ReplyParameters,
)
from PIL import Image

from src.sandbox.telegram import Person, TelegramSandbox
from tests.sandbox.conftest import Picture, aiogram_bot, close


def keys(*data: str) -> InlineKeyboardMarkup:
    return InlineKeyboardMarkup(
        inline_keyboard=[[InlineKeyboardButton(text=one.title(), callback_data=one) for one in data]]
    )


def upload(data: bytes, name: str = "picture.png") -> BufferedInputFile:
    return BufferedInputFile(data, name)


async def test_a_placeholder_becomes_one_picture(bot: Bot, anna: Person, picture: Picture) -> None:
    data = picture(1024, 1536)
    placeholder = await bot.send_message(anna.id, "Place 3", reply_markup=keys("cancel"))
    await bot.edit_message_text("Place 1", chat_id=anna.id, message_id=placeholder.message_id)
    edited = await bot.edit_message_media(
        InputMediaPhoto(media=upload(data), caption="a fox"),
        chat_id=anna.id,
        message_id=placeholder.message_id,
        reply_markup=keys("again"),
    )
    assert not isinstance(edited, bool)
    assert edited.photo
    assert (edited.photo[-1].width, edited.photo[-1].height) == (853, 1280)

    shown = anna.messages[-1]
    assert shown.message_id == placeholder.message_id
    assert shown.pictures == [hashlib.sha256(data).hexdigest()]
    assert [revision.method for revision in shown.revisions] == [
        "sendMessage",
        "editMessageText",
        "editMessageMedia",
    ]
    assert shown.button("again")["text"] == "Again"


async def test_what_does_not_change_is_refused(bot: Bot, anna: Person, picture: Picture) -> None:
    sent = await bot.send_photo(anna.id, upload(picture()), caption="x", reply_markup=keys("a"))
    assert sent.photo
    same = InputMediaPhoto(media=sent.photo[-1].file_id, caption="x")
    with pytest.raises(TelegramBadRequest, match="message is not modified: specified new message content"):
        await bot.edit_message_media(
            same, chat_id=anna.id, message_id=sent.message_id, reply_markup=keys("a")
        )
    await bot.edit_message_media(same, chat_id=anna.id, message_id=sent.message_id, reply_markup=keys("b"))
    assert len(anna.messages[-1].revisions) == 2
    assert len(anna.messages[-1].pictures) == 1


async def test_files_come_back_by_get_file(bot: Bot, anna: Person, picture: Picture) -> None:
    photo = await anna.send_photo(picture(2000, 1000), "make it winter")
    document = await anna.send_document(picture(50, 50), "small.png")
    updates = await bot.get_updates(timeout=1)
    message = updates[-2].message
    assert message
    assert message.photo
    assert message.caption == "make it winter"
    assert [max(size.width, size.height) for size in message.photo] == [90, 320, 800, 1280]
    file = await bot.get_file(message.photo[-1].file_id)
    assert file.file_path
    content = await bot.download_file(file.file_path)
    assert content
    with Image.open(io.BytesIO(content.read())) as image:
        assert (image.format, image.size) == ("JPEG", (1280, 640))
    assert photo.update_id == updates[-2].update_id

    whole = await bot.get_file(document.content["document"]["file_id"])
    assert whole.file_path
    content = await bot.download_file(whole.file_path)
    assert content
    assert content.read() == picture(50, 50)


async def test_too_large_a_file_is_known_but_not_served(bot: Bot, anna: Person) -> None:
    sent = await anna.send_document(bytes(20 * 1024 * 1024 + 1), "huge.bin")
    with pytest.raises(TelegramBadRequest, match="file is too big"):
        await bot.get_file(sent.content["document"]["file_id"])


async def test_an_album_is_filled_item_by_item(bot: Bot, anna: Person, picture: Picture) -> None:
    grey = InputMediaPhoto(media=upload(picture(colour="grey")))
    album = await bot.send_media_group(
        anna.id, [grey, InputMediaPhoto(media=upload(picture()), caption="two")]
    )
    assert len({message.media_group_id for message in album}) == 1
    await bot.edit_message_media(
        InputMediaPhoto(media=upload(picture(colour="red"))), chat_id=anna.id, message_id=album[0].message_id
    )
    first, second = anna.messages[-2:]
    assert first.content["media_group_id"] == second.content["media_group_id"] == album[0].media_group_id
    assert len(first.pictures) == 2
    with pytest.raises(TelegramBadRequest, match="can't change media type in the album"):
        await bot.edit_message_media(
            InputMediaDocument(media=upload(picture())), chat_id=anna.id, message_id=album[0].message_id
        )
    mixed = [InputMediaPhoto(media=upload(picture())), InputMediaDocument(media=upload(picture()))]
    with pytest.raises(TelegramBadRequest, match="document can't be mixed with other media types"):
        await bot.send_media_group(anna.id, mixed)


async def test_a_tap_is_answered_once(bot: Bot, anna: Person) -> None:
    await bot.send_message(anna.id, "go?", reply_markup=keys("yes"))
    tap = await anna.tap(anna.messages[-1], "Yes")
    query = (await bot.get_updates(timeout=1))[-1].callback_query
    assert query
    assert query.data == "yes"
    await bot.answer_callback_query(query.id, text="gone", show_alert=True)
    assert await tap.answered() == {"text": "gone", "show_alert": True, "url": ""}
    for stale in (query.id, "1"):
        with pytest.raises(TelegramBadRequest, match="query is too old and response timeout expired"):
            await bot.answer_callback_query(stale)


async def test_deleting_reacting_and_copying(bot: Bot, anna: Person) -> None:
    asked = anna.messages[0]
    await bot.set_message_reaction(anna.id, asked.message_id, [ReactionTypeEmoji(emoji="👀")])
    assert asked.reaction == "👀"
    copy = await bot.copy_message(anna.id, anna.id, asked.message_id)
    await bot.delete_message(anna.id, copy.message_id)
    with pytest.raises(TelegramBadRequest, match="message to delete not found"):
        await bot.delete_message(anna.id, copy.message_id)
    with pytest.raises(TelegramBadRequest, match="message to edit not found"):
        await bot.edit_message_text("x", chat_id=anna.id, message_id=copy.message_id)
    await bot.delete_messages(anna.id, [asked.message_id, copy.message_id])
    assert anna.messages == []


async def test_replies_need_their_message(bot: Bot, anna: Person) -> None:
    reply = ReplyParameters(message_id=anna.messages[0].message_id)
    sent = await bot.send_message(anna.id, "to you", reply_parameters=reply)
    assert sent.reply_to_message
    assert sent.reply_to_message.text == "/start"
    with pytest.raises(TelegramBadRequest, match="message to be replied not found"):
        await bot.send_message(anna.id, "x", reply_parameters=ReplyParameters(message_id=9999))
    lone = ReplyParameters(message_id=9999, allow_sending_without_reply=True)
    assert (await bot.send_message(anna.id, "x", reply_parameters=lone)).reply_to_message is None


async def test_the_command_menu_by_language(bot: Bot, telegram: TelegramSandbox) -> None:
    await bot.set_my_commands([BotCommand(command="start", description="Начать")], language_code="ru")
    await bot.set_my_commands([BotCommand(command="start", description="Begin")])
    assert [one.description for one in await bot.get_my_commands(language_code="ru")] == ["Начать"]
    assert [one.description for one in await bot.get_my_commands()] == ["Begin"]
    await bot.set_my_description("I draw")
    assert (await bot.get_my_description()).description == "I draw"


async def test_who_may_be_written_to(bot: Bot, telegram: TelegramSandbox, anna: Person) -> None:
    with pytest.raises(TelegramBadRequest, match="chat not found"):
        await bot.send_message(77, "x")
    stranger = telegram.person("Stranger")
    with pytest.raises(TelegramForbiddenError, match="bot can't initiate conversation with a user"):
        await bot.send_message(stranger.id, "x")
    await anna.block()
    with pytest.raises(TelegramForbiddenError, match="bot was blocked by the user"):
        await bot.send_message(anna.id, "x")
    await anna.unblock()
    await bot.send_message(anna.id, "back")
    changes = [update.my_chat_member for update in await bot.get_updates(timeout=1) if update.my_chat_member]
    assert [change.new_chat_member.status for change in changes] == ["kicked", "member"]
    other = aiogram_bot(telegram.url, "1:unknown-token-of-nobody-at-all")
    with pytest.raises(TelegramUnauthorizedError):
        await other.get_me()
    await close(other)


async def test_a_group_with_topics_and_privacy(bot: Bot, telegram: TelegramSandbox, anna: Person) -> None:
    group = telegram.group("Painters", [anna], topics=["Sketches"])
    await anna.send_text("hello all", chat=group)
    await anna.send_text("/create", chat=group, thread_id=2)
    updates = await bot.get_updates(timeout=1)
    texts = [update.message.text for update in updates if update.message]
    assert texts == ["/start", "/create"]
    sent = await bot.send_message(group.id, "here", message_thread_id=2)
    assert sent.message_thread_id == 2
    with pytest.raises(TelegramBadRequest, match="message thread not found"):
        await bot.send_message(group.id, "x", message_thread_id=9)


async def test_faults_reach_the_client_as_its_exceptions(
    bot: Bot, telegram: TelegramSandbox, anna: Person
) -> None:
    telegram.faults.add("429", "sendMessage", retry_after=7)
    with pytest.raises(TelegramRetryAfter) as refused:
        await bot.send_message(anna.id, "x")
    assert refused.value.retry_after == 7
    telegram.faults.add("timeout_after_commit", "sendMessage")
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(anna.id, "sent all the same")
    telegram.faults.add("reset", "sendMessage")
    with pytest.raises(TelegramNetworkError):
        await bot.send_message(anna.id, "never sent")
    assert [message.text for message in anna.messages] == ["/start", "sent all the same"]
