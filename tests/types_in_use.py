"""What the processes of `tests/processes.py` build of aiogram's types before they are forked: what each would build."""

from __future__ import annotations

import tests.lazy_types  # noqa: F401  isort: skip
from aiogram import methods, types
from aiogram.methods.base import Response

for one in (
    types.Message,
    types.Update,
    types.User,
    methods.AnswerCallbackQuery,
    methods.DeleteMessage,
    methods.EditMessageMedia,
    methods.EditMessageText,
    methods.GetFile,
    methods.GetMe,
    methods.GetUpdates,
    methods.SendChatAction,
    methods.SendMessage,
    methods.SendPhoto,
    methods.SetMessageReaction,
    methods.SetMyCommands,
):
    one.model_rebuild()
    if issubclass(one, methods.TelegramMethod):
        Response[one.__returning__]  # type: ignore[name-defined]
