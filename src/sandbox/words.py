"""A stand-in of OpenAI's models for words under `/words/v1`: chat completions and transcriptions, as strict about what
it is sent. It adds the same to every description, and hears what it was told (`hears`)."""

from __future__ import annotations

import json

from aiohttp import web

_CHAT = frozenset({"model", "messages", "temperature", "max_completion_tokens", "stream", "user"})
_SPEECH = frozenset({"model", "file", "language", "prompt", "response_format", "temperature"})
_SUFFIXES = (".flac", ".mp3", ".mp4", ".mpeg", ".mpga", ".m4a", ".ogg", ".wav", ".webm")


class WordsSandbox:
    """The stand-in.

    Args:
        key: the only key accepted.
        models: those there are.
    """

    def __init__(self, *, key: str, models: tuple[str, ...]) -> None:
        self.hears = ""
        self.adds = ", soft evening light, fine detail"
        self.asked: list[str] = []
        self._key = key
        self._models = models

    def add_to(self, app: web.Application) -> None:
        """Serve both."""
        app.router.add_post("/words/v1/chat/completions", self._chat)
        app.router.add_post("/words/v1/audio/transcriptions", self._speech)

    async def _chat(self, request: web.Request) -> web.Response:
        try:
            fields = json.loads(await request.read())
        except ValueError:
            return _error(400, "We could not parse the JSON body of your request.")
        if (wrong := self._wrong(request, fields, _CHAT)) is not None:
            return wrong
        messages = fields.get("messages")
        if not messages or any(
            not m.get("content") or m.get("role") not in ("system", "user") for m in messages
        ):
            return _error(400, "Invalid value for 'messages'.")
        words = messages[-1]["content"]
        self.asked.append(words)
        message = {"role": "assistant", "content": words + self.adds, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({"object": "chat.completion", "model": fields["model"], "choices": [choice]})

    async def _speech(self, request: web.Request) -> web.Response:
        form = await request.post()
        if (wrong := self._wrong(request, form, _SPEECH)) is not None:
            return wrong
        file = form.get("file")
        if not isinstance(file, web.FileField) or not file.filename.endswith(_SUFFIXES):
            return _error(400, "Invalid file format.")
        if not file.file.read():
            return _error(400, "Audio file is too short. Minimum audio length is 0.1 seconds.")
        return web.json_response({"text": self.hears})

    def _wrong(self, request: web.Request, fields: object, known: frozenset[str]) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self._key}":
            return _error(401, "Incorrect API key provided.")
        names = list(fields) if hasattr(fields, "__iter__") else []
        if unknown := [name for name in names if name not in known]:
            return _error(400, f"Unrecognized request argument supplied: {unknown[0]}")
        model = fields.get("model") if hasattr(fields, "get") else None
        if model not in self._models:
            return _error(404, f"The model `{model}` does not exist or you do not have access to it.")
        return None


def _error(status: int, message: str) -> web.Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return web.json_response(body, status=status)
