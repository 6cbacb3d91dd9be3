"""Every key that this system has in Redis: what it is, how long it lasts, who writes it, what it holds.

A key's name is `imagebot:`, its row's first word, and what stands in `<…>`, with colons between. Modules in Python
make their keys here: `keys.JOB(job_id)`. The scripts get the prefix, and each says at its top which keys it uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

PREFIX = "imagebot:"


@dataclass(frozen=True, slots=True)
class Key:
    """One row. Called with the parts of a name it gives the whole of it.

    Attributes:
        expires: `always`, `later` (once what it is about has ended) or `never`.
        lifetime: how long it lasts, or what keeps it small.
    """

    name: str
    type: Literal["hash", "list", "set", "stream", "string", "zset", "any"]
    expires: Literal["always", "later", "never"]
    lifetime: str
    writer: str
    holds: str

    @property
    def word(self) -> str:
        return self.name.partition(":")[0]

    @property
    def prefix(self) -> str:
        """What its names begin with, up to the colon before their first part."""
        return PREFIX + self.word

    def names_with(self, part: str, value: str) -> str:
        """What the names match (a regular expression) in which `<part>` is that value."""
        word, *parts = self.name.split(":")
        free = ["[^:]*"] * (len(parts) - 1) + [".*"]
        said = [
            re.escape(value) if name == f"<{part}>" else any_ for name, any_ in zip(parts, free, strict=True)
        ]
        return ":".join([re.escape(PREFIX + word), *said])

    def __call__(self, *parts: object) -> str:
        """The name with one value for each `<…>`.

        Raises:
            TypeError: too few or too many: such a name would be another key's, or nobody's.
        """
        if len(parts) != self.name.count(":"):
            raise TypeError(f"{self.name} was given {len(parts)} parts")
        return ":".join((self.prefix, *map(str, parts)))


# fmt: off
# Jobs and what people sent (`src/jobs/lua`)
JOB = Key("job:<id>", "hash", "later", "days of JOB_TTL_DAYS from its end, a favourite as long as it is one", "ledger", "a job (records.Job)")
REQUEST = Key("request:<id>", "hash", "later", "as its last job",
    "ledger", "what a person sent, and the messages that show it")
UPDATE = Key("update:<id>", "string", "always", "2 days",
    "ledger", "request made from an update or idempotency key")
DUE = Key("due", "zset", "never", "a row goes with its job's end",
    "ledger", "when a job or r:<request> is looked at, ms")
OPEN = Key("open", "zset", "never", "a row goes with its last job's end",
    "ledger", "requests with a chat that may not have ended")
ACTIVE = Key("active:<user>", "zset", "never", "a row goes with its job's end",
    "ledger", "a person's jobs under way")
HISTORY = Key("history:<user>", "zset", "always", "JOB_TTL_DAYS from the last",
    "ledger", "a person's last 200 requests")
STARRED = Key("starred:<user>", "zset", "never", "as many as they keep",
    "ledger", "a person's favourites, whose jobs do not run out")
SOUGHT = Key("sought:<chat>:<message>", "string", "always", "a day",
    "bot", "the words whose pictures a gallery shows")
WINDOW = Key("window:<user>", "zset", "always", "the rate's window", "ledger", "a person's admissions lately")
STRIKES = Key("strikes:<user>", "string", "always", "an hour from the last",
    "ledger", "requests of a person's that were refused for what they ask")
HELPED = Key("helped:<user>", "string", "always", "the rate's window",
    "bot", "how often a person's words were made better or written down")
COOLING = Key("cooling:<user>", "string", "always", "half an hour",
    "ledger", "a person had too many of these, and may ask for nothing")
USER = Key("user:<user>", "hash", "never", "choices do not run out, nor does a block",
    "bot", "language, aspect, tier, …")
PEOPLE = Key("people", "zset", "never", "a person's goes when they block the bot",
    "bot", "who talks to the bot in private, by about when they last did, s")
ORIGINALS = Key("originals", "hash", "never", "four fields",
    "worker", "bytes used and left in the store of pictures, and what one takes")
BLOB = Key("blob:<job>", "string", "always", "a day",
    "nobody", "a picture, kept by the version before that store")
UPLOAD = Key("upload:<id>:<sum>", "string", "always", "until its job ended",
    "nobody", "a picture to change, kept by that version")
FAILED = Key("failed", "zset", "never", "trimmed by the monitor",
    "ledger", "failed jobs, for the operator, by time")
ENDED = Key("ended", "list", "never", "the last 1,000",
    "ledger", "<ms> <outcome> <ms it took> <id>, newest first")
COUNTS = Key("counts", "hash", "never", "four fields", "ledger", "jobs admitted, and ended by outcome")
SPENT = Key("spent:<day>", "hash", "always", "90 days",
    "ledger", "what that day's pictures cost, in millionths, by all or provider and unit (spending.Spent)")
SPENDER = Key("spender:<day>", "hash", "always", "90 days",
    "ledger", "the same by person and unit")
TALLY = Key("tally:<day>", "hash", "always", "90 days",
    "ledger", "that day's jobs: <hour> admitted or outcome, <hour> ms that pictures took, kind <why it failed>, <hour> stars and refunded")
OWED = Key("owed", "hash", "never", "a field goes when its span is written",
    "ledger", "by job, or by a generation's span: what is needed to write it")
OWING = Key("owing:<note>", "string", "always", "a minute", "ledger", "that a worker writes the span of this note in `owed`")
LOST = Key("lost:<span>", "string", "always", "a day", "ledger", "who writes that span of a dead process")

# Paying
BALANCE = Key("balance", "hash", "never", "what is bought does not run out",
    "ledger", "by person: pictures that are paid for and were not had")
FREE = Key("free:<day>", "hash", "always", "3 days",
    "ledger", "by person: pictures that they had of that day's free share")
PAYMENTS = Key("payments", "hash", "never", "one a payment: accounts are kept",
    "ledger", "by Telegram's charge id: who paid what for how much, and whether it was refunded (credit.Payment)")
SUBSCRIBED = Key("subscribed", "hash", "never", "one a subscriber",
    "ledger", "by person: the charge id of their subscription, and until when it is paid (credit.Subscription)")
TAKINGS = Key("takings", "hash", "never", "five fields",
    "ledger", "payments and refunds, each in number and stars; the ms of the latest")
PROMOS = Key("promos", "hash", "never", "as many as admins made",
    "ledger", "by code: what it gives, and how often it still may")
REDEEMED = Key("redeemed", "hash", "never", "one a code and person",
    "ledger", "by <code> <user>: the update that said it")
GUESSES = Key("guesses:<user>", "string", "always", "an hour", "bot", "codes that were none")
RECONCILED = Key("reconciled:<bot>", "string", "never", "one value",
    "bot", "how many of Telegram's transactions were looked at")

# The fair line
LINE = Key("line:<provider>", "zset", "never", "a row goes with its turn",
    "ledger", "waiting jobs by class * 2^40 + round")
TAGS = Key("tags:<provider>", "hash", "never", "a person's goes with their last job there",
    "ledger", "now:<class>: the round; <class>:<user>: the last given")
SLOTS = Key("slots:<provider>", "set", "never", "at most its cap", "ledger", "jobs with the provider")
TOOK = Key("took:<provider>:<model>", "list", "always", "the last 200, a month",
    "ledger", "ms that generations took, newest first")
SAMPLED = Key("sampled:<provider>:<model>", "string", "always", "ms",
    "ledger", "one was added to that list just now")
MODELS = Key("models", "set", "never", "models of the last month",
    "ledger", "<provider>:<model> of each list of durations")

# Polls and callbacks
LOOKED = Key("looked", "string", "never", "one value",
    "ledger", "when anybody last looked at what is due, ms")
GRACE = Key("grace", "string", "never", "one value",
    "ledger", "until when leases that ran out are left alone, ms")
TICKET = Key("ticket:<provider>:<task>", "string", "always", "the job's deadline",
    "ledger", "job of a provider's task")
HINT = Key("hint:<provider>:<task>", "string", "always", "minutes",
    "ledger", "a callback that came before its ticket")

# Limits (`src/limits`)
GATE = Key("gate:<name>", "hash", "always", "an hour unused",
    "limiter", "a limit's bucket, closure and breaker")

# Chats
UPDATES = Key("updates:<bot>", "stream", "never", "an entry goes when handled",
    "inbox", "updates that wait for the bot")
SEEN = Key("seen:<bot>:<update>", "string", "always", "a day", "inbox", "an update that was taken")
DIALOG = Key("dialog:<bot>:<chat>:<user>:<what>", "string", "always", "a day",
    "aiogram", "where a conversation is")
TAP = Key("tap:<user>:<message>:<button>", "string", "always", "an hour",
    "bot", "the update that tapped it last")
BECAME = Key("became:<chat>", "string", "never", "one a group that became a supergroup",
    "ledger", "the id that a group has now")
CHAT = Key("chat:<chat>", "hash", "never", "choices do not run out", "bot", "what a group's admins chose for it")
HERE = Key("here:<chat>:<user>", "zset", "always", "an hour from the last",
    "ledger", "pictures asked for there within an hour, by one or by all; where a group's admins limit them")
STYLES = Key("styles", "hash", "never", "as many as admins made", "bot", "words that are added, by a style's name")
SWITCHES = Key("switches", "set", "never", "as many as there are features and models",
    "bot", "what admins have switched off: features, and model:<key>")
PAUSE = Key("pause", "string", "never", "one value", "bot", "why no new wishes are taken, while that is so")
BROADCAST = Key("broadcast", "hash", "always", "the last one, 30 days",
    "bot", "an admin's notice to everybody: number, state, by, notice")
AUDIENCE = Key("audience", "zset", "always", "the last one's, 30 days",
    "bot", "whom it goes to, by what became of it (broadcasting.Reached)")
JOURNAL = Key("journal", "zset", "always", "the last 1,000, a year from the last",
    "bot", "what admins did, by time, ms: [update, who, what, whom, how]")
GONE = Key("gone:<chat>", "string", "always", "an hour", "bot", "that it was put out of a chat, and can say nothing there")
RIGHTS = Key("rights:<chat>", "string", "always", "minutes", "bot", "what the bot may send there")
MEMBER = Key("member:<chat>:<user>", "string", "always", "minutes", "bot", "someone's status in a group")
EXPORT = Key("export:<user>", "string", "always", "minutes", "bot", "that they were sent all of theirs")
ORDER = Key("order:<chat>:<message>", "string", "always", "a day",
    "bot", "words that are drawn if their writer says so")
CUT = Key("cut:<chat>", "string", "always", "seconds", "bot", "a long text came in pieces")
REFUSED = Key("refused:<chat>:<user>:<why>", "string", "always", "seconds",
    "bot", "how often that was said of late")
STORED = Key("stored:<job>", "string", "always", "a day",
    "deliver", "what Telegram has of a picture that no message shows yet")
INLINE = Key("inline:<user>:<words>", "string", "always", "a day",
    "bot", "words that are drawn into the message that a person sent of them")
FEEDBACK = Key("feedback", "hash", "never", "two fields",
    "bot", "when Telegram last told what was sent through us, and when a button had to, ms")
FILE = Key("file:<job>", "string", "always", "JOB_TTL_DAYS", "bot", "Telegram's id of the original")
TILE = Key("tile:<bot>:<aspect>:<face>", "string", "always", "JOB_TTL_DAYS",
    "placeholders", "Telegram's id of a tile")

# Providers
SECRET = Key("secret", "string", "never", "one value", "ledger", "what people's pseudonyms are keyed with")
TOLD = Key("told:<provider>:<text>", "string", "always", "6 hours",
    "owner", "that the owner was told so of late")
LIMITED = Key("limited:<provider>", "string", "always", "a week", "owner", "since when it says nothing else")

# Processes
HEARTBEATS = Key("heartbeats", "hash", "always", "a day",
    "heartbeat", "the last word of each process, by holder")
DISKS = Key("disks", "hash", "always", "a day", "heartbeat", "share of its disk in use, by holder")
BACKUP = Key("backup", "hash", "never", "four fields",
    "backup", "when the last was made, ms, why the one after failed, s from one to the next, and days one is kept")
HEARD = Key("heard", "hash", "never", "two fields",
    "hearing", "when Telegram last gave updates, ms, and why it does not since")
LEASE = Key("lease:<name>", "string", "always", "seconds", "leader", "the process that does a thing for all")
SWEEPER = "originals"
"""The name of the lease of who drops pictures that nobody needs any more."""
PROBE = Key("probe", "string", "always", "a second", "ledger", "that Redis takes writes")
SAMPLES = Key("samples", "list", "never", "the last hours", "monitor", "the system's figures, newest first")
PACE = Key("pace", "list", "never", "a day, an entry an hour",
    "monitor", "<ms> <bytes Redis uses>, newest first")
ALERTS = Key("alerts", "hash", "never", "a field a figure", "monitor", "what the admins were told of")
DRAMATIQ = Key("dramatiq:<…>", "any", "never", "Dramatiq's own upkeep", "dramatiq", "wake-ups on their way")
# fmt: on

TABLE = {key.word: key for key in list(globals().values()) if isinstance(key, Key)}


def row_of(name: str) -> Key | None:
    """The row that a key of Redis belongs to; None: nobody knows it."""
    word = name.removeprefix(PREFIX).partition(":")[0]
    return TABLE.get(word) if name.startswith(PREFIX) else None
