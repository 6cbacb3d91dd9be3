"""The people's side over HTTP, under `/sandbox/`: for the chat page, and for tests of another process.

People, their messages and taps, what changes in a chat (over a WebSocket), faults, and the audit. The chat is a person's
private one, or the group that the query's `chat` names, in which they are. It acts for anybody and so takes no request that another site's page could have sent.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from src.sandbox.telegram.account import commands_for, menu_button
from src.sandbox.telegram.errors import ApiError
from src.sandbox.telegram.faults import Fault
from src.sandbox.telegram.people import Person, visible
from src.sandbox.telegram.records import Chat, Event, Message
from src.sandbox.telegram.web_apps import open_web_app
from src.sandbox.telegram.wire import read_call

if TYPE_CHECKING:
    from src.sandbox.telegram.server import TelegramSandbox

_SHOWN = 300
"""Messages of a chat the page gets at first."""

_QUEUED = 1_000
_HEARTBEAT = 15.0


class Control:
    """The routes; they act on the sandbox's first bot."""

    def __init__(self, sandbox: TelegramSandbox) -> None:
        self._sandbox = sandbox
        self._bot = sandbox.bot
        self._streams: set[asyncio.Queue[tuple[str, Any]]] = set()

    def add_to(self, app: web.Application) -> None:
        for verb, path, handler in (
            ("GET", "/sandbox/people", self._people),
            ("POST", "/sandbox/people", self._add_person),
            ("PATCH", "/sandbox/people/{person}", self._change_person),
            ("GET", "/sandbox/people/{person}/chat", self._chat),
            ("GET", "/sandbox/people/{person}/events", self._events),
            ("POST", "/sandbox/people/{person}/messages", self._send),
            ("DELETE", "/sandbox/people/{person}/messages/{message}", self._delete),
            ("POST", "/sandbox/people/{person}/taps", self._tap),
            ("POST", "/sandbox/people/{person}/inline", self._ask_inline),
            ("POST", "/sandbox/people/{person}/inline/{query}", self._send_inline),
            ("POST", "/sandbox/people/{person}/payments", self._pay),
            ("POST", "/sandbox/people/{person}/group", self._join),
            ("POST", "/sandbox/people/{person}/web_app", self._open_web_app),
            ("GET", "/sandbox/files/{unique}", self._file),
            ("GET", "/sandbox/calls", self._calls),
            ("GET", "/sandbox/faults", self._faults),
            ("POST", "/sandbox/faults", self._add_fault),
            ("DELETE", "/sandbox/faults", self._clear_faults),
            ("POST", "/sandbox/updates", self._inject),
        ):
            app.router.add_route(verb, path, _own_site(handler))
        app.on_shutdown.append(self._close)

    async def _close(self, _: web.Application) -> None:
        for queue in self._streams:
            queue.put_nowait(("closed", None))

    # People

    async def _people(self, _: web.Request) -> web.Response:
        return web.json_response(
            [self._person_json(Person(p, self._bot)) for p in self._sandbox.people.values()]
        )

    async def _add_person(self, request: web.Request) -> web.Response:
        body = await _body(request)
        name = str(body.get("first_name") or "").strip()[:64]
        if not name:
            raise web.HTTPBadRequest(text="first_name is missing")
        person = self._sandbox.person(name, language_code=str(body.get("language_code") or "en"))
        return web.json_response(self._person_json(person), status=201)

    async def _change_person(self, request: web.Request) -> web.Response:
        person, body = self._person(request), await _body(request)
        if "language_code" in body:
            await person.use_language(str(body["language_code"])[:16])
        if "blocked" in body:
            await (person.block() if body["blocked"] else person.unblock())
        return web.json_response(self._person_json(person, self._group(request, person)))

    async def _join(self, request: web.Request) -> web.Response:
        """Goes into the group of a `title` as `member` or `administrator`, which is the `role`."""
        person, body = self._person(request), await _body(request)
        if (role := body.get("role")) not in ("member", "administrator"):
            raise web.HTTPBadRequest(text="role is member or administrator")
        group = self._sandbox.join(person, role, str(body.get("title") or "Group")[:128])
        return web.json_response(group.as_json(), status=201)

    def _person(self, request: web.Request) -> Person:
        record = self._sandbox.people.get(_number(request, "person"))
        if record is None:
            raise web.HTTPNotFound(text="no such person")
        return Person(record, self._bot)

    def _group(self, request: web.Request, person: Person) -> Chat | None:
        """The group that is meant; None: the private chat."""
        if (named := request.query.get("chat")) is None:
            return None
        chat = next((chat for chat in self._bot.chats.values() if str(chat.id) == named), None)
        if chat is None or chat.is_private or person.id not in chat.members:
            raise web.HTTPNotFound(text="no such group")
        return chat

    def _person_json(self, person: Person, group: Chat | None = None) -> dict[str, Any]:
        return {
            **person.record.as_user(),
            "blocked": person.chat.blocked,
            "commands": commands_for(self._bot, group or person.chat, person.record.language_code),
            "menu_button": menu_button(self._bot, person.id),
        }

    # A chat

    async def _chat(self, request: web.Request) -> web.Response:
        person = self._person(request)
        return web.json_response(self._snapshot(person, self._group(request, person)))

    def _snapshot(self, person: Person, group: Chat | None) -> dict[str, Any]:
        code = person.record.language_code
        profile = self._bot.profile
        return {
            "bot": {
                **self._bot.as_user(),
                "description": profile.get(f"description:{code}") or profile.get("description:", ""),
            },
            "person": self._person_json(person, group),
            "messages": [message_json(message) for message in visible(group or person.chat)[-_SHOWN:]],
        }

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket: the chat as it is, then each change, and a sign of what the bot writes to others.

        A reader that falls far behind is cut off and comes again.
        """
        person = self._person(request)
        group = self._group(request, person)
        shown = (group or person.chat).id
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        queue.put_nowait(("snapshot", self._snapshot(person, group)))

        def listen(event: Event) -> None:
            if queue.qsize() >= _QUEUED:
                queue.put_nowait(("closed", None))
            elif event.chat_id == shown:
                # What others in a group are answered is theirs.
                if event.kind != "answer" or event.data["person_id"] == person.id:
                    queue.put_nowait(_shown_event(event))
            elif event.kind == "message" and event.data["message"].from_bot:
                queue.put_nowait(("activity", {"chat_id": event.chat_id}))

        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT)
        await socket.prepare(request)
        self._bot.feed.listeners.add(listen)
        self._streams.add(queue)
        writing = asyncio.create_task(_write_events(socket, queue))
        try:
            async for _ in socket:
                pass
        finally:
            writing.cancel()
            self._bot.feed.listeners.discard(listen)
            self._streams.discard(queue)
        return socket

    async def _send(self, request: web.Request) -> web.Response:
        """A text as JSON or in a form, or a file in a multipart part `photo` or `document`."""
        person = self._person(request)
        group = self._group(request, person)
        call = await read_call(request, "send")
        reply_to = (group or person.chat).messages.get(call.integer("reply_to"))
        text = call.text("text")
        try:
            if "photo" in call.uploads:
                message = await person.send_photo(
                    call.uploads["photo"].data, text, chat=group, reply_to=reply_to
                )
            elif "document" in call.uploads:
                upload = call.uploads["document"]
                message = await person.send_document(
                    upload.data,
                    upload.name,
                    text,
                    mime_type=upload.content_type,
                    chat=group,
                    reply_to=reply_to,
                )
            else:
                message = await person.send_text(text, chat=group, reply_to=reply_to)
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response(message_json(message), status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        person = self._person(request)
        chat = self._group(request, person) or person.chat
        await person.delete(self._message(chat, _number(request, "message")))
        return web.json_response({})

    async def _tap(self, request: web.Request) -> web.Response:
        person, body = self._person(request), await _body(request)
        chat = self._group(request, person) or person.chat
        message = self._message(chat, int(body.get("message_id") or 0))
        tap = await person.tap_data(message, str(body.get("data") or ""))
        return web.json_response({"query_id": tap.query.id, "update_id": tap.update_id}, status=201)

    async def _ask_inline(self, request: web.Request) -> web.Response:
        """`@bot words`, as in any chat: what the bot offers."""
        person, body = self._person(request), await _body(request)
        group = self._group(request, person)
        try:
            query = await person.ask_inline(
                str(body.get("query") or ""), chat_type=group.type if group else "sender"
            )
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        except TimeoutError:
            raise web.HTTPGatewayTimeout(text="the bot does not answer") from None
        results = query.answer.results if query.answer is not None else []
        offered = [
            {
                "id": result.id,
                "title": result.given.get("title", ""),
                "description": result.given.get("description", ""),
                "photo": result.content["photo"][0]["file_unique_id"] if "photo" in result.content else None,
            }
            for result in results
        ]
        return web.json_response({"query_id": query.id, "results": offered})

    async def _send_inline(self, request: web.Request) -> web.Response:
        """Sends what was offered, in the chat."""
        person, body = self._person(request), await _body(request)
        chat = self._group(request, person) or person.chat
        query = self._bot.inline.queries.get(request.match_info["query"])
        if query is None or query.answer is None or query.person.id != person.id:
            raise web.HTTPNotFound(text="no such query")
        try:
            result = query.answer.result(str(body.get("result") or ""))
        except LookupError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return web.json_response(message_json(await person.send_inline(query, result, chat=chat)), status=201)

    async def _pay(self, request: web.Request) -> web.Response:
        """Pays what a message (`message_id`) or a `link` asks for: `paid`, or the bot's words why not."""
        person, body = self._person(request), await _body(request)
        link = str(body.get("link") or "")
        chat = self._group(request, person) or person.chat
        invoice = link or self._message(chat, int(body.get("message_id") or 0))
        try:
            checkout = await person.pay(invoice)
        except LookupError:
            raise web.HTTPNotFound(text="no such invoice") from None
        except TimeoutError:
            raise web.HTTPGatewayTimeout(text="the bot does not answer") from None
        return web.json_response({"outcome": checkout.outcome}, status=201)

    async def _open_web_app(self, request: web.Request) -> web.Response:
        """Opens what a button of `url` opens, in a client of these `colours`: the whole address."""
        person, body = self._person(request), await _body(request)
        colours = {str(name): str(value) for name, value in dict(body.get("colours") or {}).items()}
        try:
            url = open_web_app(self._bot, person, str(body.get("url") or ""), colours)
        except LookupError as error:
            raise web.HTTPNotFound(text=str(error)) from None
        return web.json_response({"url": url}, status=201)

    def _message(self, chat: Chat, number: int) -> Message:
        message = chat.messages.get(number)
        if message is None or message.deleted:
            raise web.HTTPNotFound(text="no such message")
        return message

    async def _file(self, request: web.Request) -> web.Response:
        unique = request.match_info["unique"]
        record = self._bot.unique_files.get(unique)
        data = self._bot.file_bytes(record) if record is not None else None
        if record is None or data is None:
            raise web.HTTPNotFound(text="no such file")
        headers = {
            "Cache-Control": "private, max-age=31536000, immutable",
            "X-Content-Type-Options": "nosniff",
        }
        if record.mime_type.startswith("image/") and record.mime_type != "image/svg+xml":
            return web.Response(body=data, content_type=record.mime_type, headers=headers)
        headers["Content-Disposition"] = "attachment"
        return web.Response(body=data, content_type="application/octet-stream", headers=headers)

    # What happened, and what shall go wrong

    async def _calls(self, request: web.Request) -> web.Response:
        audit = self._sandbox.audit
        wanted, chat = request.query.get("method"), request.query.get("chat_id")
        kept = [call.as_json() for call in audit.of(wanted, int(chat) if chat else None)]
        return web.json_response({"total": audit.total, "by_method": audit.by_method, "calls": kept})

    async def _faults(self, _: web.Request) -> web.Response:
        return web.json_response([fault.as_json() for fault in self._sandbox.faults.active])

    async def _add_fault(self, request: web.Request) -> web.Response:
        body = await _body(request)
        known = {field.name for field in fields(Fault)} - {"hits"}
        if unknown := sorted(set(body) - known):
            raise web.HTTPBadRequest(text=f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
        try:
            fault = self._sandbox.faults.add(**body)
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response(fault.as_json(), status=201)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self._sandbox.faults.clear()
        return web.json_response([])

    async def _inject(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if len(body) != 1:
            raise web.HTTPBadRequest(text='an object with one field is wanted: {"message": {…}}')
        [(kind, content)] = body.items()
        return web.json_response({"update_id": self._sandbox.inject(kind, content)}, status=201)


def message_json(message: Message) -> dict[str, Any]:
    """A message as the page wants it: the Bot API's, with what only the sandbox knows."""
    return {
        **message.as_json(),
        "update_id": message.update_id,
        "reaction": message.reaction,
        "revision": len(message.revisions),
    }


async def _write_events(socket: web.WebSocketResponse, queue: asyncio.Queue[tuple[str, Any]]) -> None:
    while True:
        kind, data = await queue.get()
        if kind == "closed":
            await socket.close()
            return
        await socket.send_str(json.dumps({"event": kind, "data": data}))


def _shown_event(event: Event) -> tuple[str, Any]:
    if "message" in event.data:
        return event.kind, message_json(event.data["message"])
    return event.kind, event.data


def _own_site(handler: Any) -> Any:
    """Refuses what a page of another origin sends, and answers refusals of the Bot API as plain text."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise web.HTTPForbidden(text="this belongs to the sandbox's own page")
        try:
            response: web.StreamResponse = await handler(request)
        except ApiError as error:
            raise web.HTTPBadRequest(text=error.description) from None
        return response

    return guarded


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(text="JSON is wanted") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="a JSON object is wanted")
    return body


def _number(request: web.Request, name: str) -> int:
    try:
        return int(request.match_info[name])
    except ValueError:
        raise web.HTTPNotFound from None
