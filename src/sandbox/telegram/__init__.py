"""A stateful stand-in of the Telegram Bot API with people to talk to.

It keeps users, chats, messages, files and updates, refuses what Telegram refuses in Telegram's words,
and logs every call. It does not render anything: the chat page is `src.sandbox.page`.
"""

from src.sandbox.telegram.faults import Fault, Faults
from src.sandbox.telegram.people import Person, Tap, transcript
from src.sandbox.telegram.records import Chat, Message
from src.sandbox.telegram.server import DEMO_STORE, DEMO_TOKEN, TelegramSandbox

__all__ = [
    "DEMO_STORE",
    "DEMO_TOKEN",
    "Chat",
    "Fault",
    "Faults",
    "Message",
    "Person",
    "Tap",
    "TelegramSandbox",
    "transcript",
]
