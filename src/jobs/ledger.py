"""The ledger: the truth about every job, in Redis.

`run` makes a transition; the rest reads. Losing a Dramatiq message costs a little time, getting one
twice costs nothing, because what happens is decided here.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from src.jobs import keys
from src.jobs.answers import Standing
from src.jobs.records import RECORD, Job, Person, Request, State
from src.jobs.transitions import Transition
from src.store.clients import is_passing
from src.store.scripts import call_replicated, script_text

T = TypeVar("T")
# What of a request may not be settled in its chat.
Mark = Literal["changing", "previewing", "previewed"]

_NOTICED_SECONDS = 600
# As many requests as `admit.lua` keeps of a person.
_HISTORY = 200
# After these a person has our word, or a provider may have our money.
# And of a message that is not known nobody knows that it is in the chat.
_PROMISES = frozenset({"admit", "claim", "accepted", "paid", "refunded", "redeem", "placed"})


@functools.cache
def script(name: str) -> str:
    """A script's text, behind what all share."""
    record = "local RECORD = {" + ", ".join(f"'{field}'" for field in RECORD) + "}\n"
    return record + script_text("src.jobs", "common", name, folder="lua")


class Ledger:
    """Access to the ledger. `client` and `sync_client` decode answers as UTF-8; give the one you use.

    Args:
        replicated: the master has replicas that take over when it dies, so what must not be lost counts only
            once one of them has it.
    """

    def __init__(
        self,
        client: Redis | None = None,
        sync_client: Any = None,
        *,
        replicated: bool = False,
    ) -> None:
        self._replicated = replicated
        self._client = client
        self._sync_client = sync_client
        self._secret: bytes | None = None
        # redis-py's objects of the scripts, which send the text only where Redis does not know it.
        self._script = functools.cache(lambda name: self.client.register_script(script(name)))
        self._sync_script = functools.cache(lambda name: sync_client.register_script(script(name)))

    @property
    def client(self) -> Any:
        """The asyncio client (`Any`: redis-py's types do not know `decode_responses`)."""
        if self._client is None:
            raise RuntimeError("this ledger was made without an asyncio client")
        return self._client

    async def run(self, transition: Transition[T]) -> T:
        """Make a transition.

        Raises:
            redis.RedisError: Redis is away; whether the script ran is unknown, so callers repeat
                only what a fence guards.
        """
        name, args = transition.script, transition.args
        if self._replicated and name in _PROMISES:
            raw = await call_replicated(self.client, script(name), keys.PREFIX, args)
        else:
            raw = await self._script(name)(keys=[keys.PREFIX], args=args)
        return transition.parse(raw)

    async def commit(self, transition: Transition[T], *, patience: float = 30.0) -> T:
        """Make a transition whose loss would cost something, patiently: Redis may be restarting.

        A transition guarded by a fence can be said twice, so an answer that was lost does no harm.

        Raises:
            redis.RedisError: Redis stayed away for so many seconds.
        """
        until = time.monotonic() + patience
        while True:
            try:
                return await self.run(transition)
            except RedisError as error:
                if time.monotonic() > until or not is_passing(error):
                    raise
                await asyncio.sleep(0.2)

    async def _call(self, name: str, *args: str | int) -> Any:
        return await self._script(name)(keys=[keys.PREFIX], args=args)

    def run_sync(self, transition: Transition[T]) -> T:
        """`run` for a thread without a loop."""
        if self._sync_client is None:
            raise RuntimeError("this ledger was made without a sync client")
        registered = self._sync_script(transition.script)
        return transition.parse(registered(keys=[keys.PREFIX], args=transition.args))

    # Reading

    async def try_writing(self) -> None:
        """Write what nobody reads, by a command and by a script: reading alone works on a replica, too, and a cluster
        takes one key at a time.

        Raises:
            redis.RedisError: it cannot be.
        """
        await self.client.set(keys.PROBE(), "tried", px=1000)
        await self.client.eval("return redis.call('SET', KEYS[1], 'tried', 'PX', 1000)", 1, keys.PROBE())
        await self.client.exists(keys.PROBE(), keys.HEARTBEATS())

    async def now(self) -> int:
        """Redis's clock, in ms: the only clock of the ledger."""
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def job(self, job_id: str) -> Job | None:
        return Job.parse(job_id, await self.client.hgetall(keys.JOB(job_id)))

    async def jobs(self, ids: Sequence[str]) -> list[Job]:
        """The jobs that exist among `ids`, in that order."""
        async with self.client.pipeline(transaction=False) as pipe:
            for job_id in ids:
                pipe.hgetall(keys.JOB(job_id))
            answers = await pipe.execute()
        found = (Job.parse(job_id, raw) for job_id, raw in zip(ids, answers, strict=True))
        return [job for job in found if job is not None]

    async def request(self, request_id: str) -> Request | None:
        return Request.parse(request_id, await self.client.hgetall(keys.REQUEST(request_id)))

    async def requests(self, ids: Sequence[str]) -> list[Request]:
        """The requests that exist among `ids`, in that order."""
        async with self.client.pipeline(transaction=False) as pipe:
            for request_id in ids:
                pipe.hgetall(keys.REQUEST(request_id))
            answers = await pipe.execute()
        found = (Request.parse(request_id, raw) for request_id, raw in zip(ids, answers, strict=True))
        return [request for request in found if request is not None]

    async def standings(self, requests: Sequence[str]) -> list[Standing]:
        """How those of the requests stand that exist, in that order and at one time."""
        if not requests:
            return []
        return Standing.from_answer(await self._script("standing")(keys=[keys.PREFIX], args=requests))

    async def standing(self, request_id: str) -> Standing | None:
        """How a request stands; None where there is none."""
        return next(iter(await self.standings([request_id])), None)

    async def person(self, user: str) -> Person:
        return Person.parse(user, await self.client.hgetall(keys.USER(user)))

    async def pseudonym(self, user: str) -> str:
        """The person as providers know them: keyed with a secret of this installation, which is made at its first
        use, so that nobody who knows people's numbers can tell who it is."""
        if self._secret is None:
            await self.client.set(keys.SECRET(), secrets.token_hex(32), nx=True)
            self._secret = str(await self.client.get(keys.SECRET())).encode()
        return hmac.new(self._secret, user.encode(), hashlib.sha256).hexdigest()[:32]

    async def choose(self, user: str, **choices: str | int) -> None:
        """Keep a person's choices (the fields of `Person`)."""
        await self.client.hset(keys.USER(user), mapping=dict(choices))

    async def noticed(self, person: Person, lang: str) -> None:
        """A person talks to the bot in private: they can be written to, in that language. Noted now and then."""
        now = int(time.time())
        if now - person.seen < _NOTICED_SECONDS and person.spoken == lang:
            return
        async with self.client.pipeline(transaction=False) as pipe:
            pipe.hset(keys.USER(person.id), mapping={"seen": now, "spoken": lang})
            pipe.zadd(keys.PEOPLE(), {person.id: now})
            await pipe.execute()

    async def unreachable(self, user: str) -> None:
        """A person cannot be written to: they have blocked the bot, or are gone."""
        await self.client.zrem(keys.PEOPLE(), user)

    async def put_out(self, chat: int) -> None:
        """A chat has put the bot out. Known for an hour: what was open there has ended by then, and who lets it in
        while the bot is away loses no more."""
        await self.client.set(keys.GONE(chat), 1, ex=3600)

    async def let_in(self, chat: int) -> None:
        """It may write there again."""
        await self.client.delete(keys.GONE(chat))

    async def is_put_out(self, chat: int) -> bool:
        return bool(await self.client.exists(keys.GONE(chat)))

    async def active(self, user: str) -> list[Job]:
        """A person's jobs that have not ended, oldest first."""
        return await self.jobs(await self.client.zrange(keys.ACTIVE(user), 0, -1))

    async def asked_lately(self, user: str, window: int) -> list[float]:
        """Seconds since each of a person's requests of the last `window` seconds that count, oldest first."""
        now = await self.now()
        rows = await self.client.zrange(
            keys.WINDOW(user), f"({now - window * 1000}", "+inf", byscore=True, withscores=True
        )
        return [(now - score) / 1000 for _, score in rows]

    async def history(self, user: str, count: int = 10) -> list[str]:
        """A person's last requests, newest first."""
        return list(await self.client.zrevrange(keys.HISTORY(user), 0, count - 1))

    async def pictures(self, user: str) -> list[Job]:
        """A person's pictures that are kept, newest first."""
        found = await self.requests(await self.history(user, _HISTORY))
        jobs = await self.jobs([job for request in found for job in reversed(request.jobs)])
        return [job for job in jobs if job.state is State.DELIVERED]

    async def all_of(self, user: str) -> list[Job]:
        """All that is kept of what a person asked for, newest first: also what failed, and favourites."""
        found = await self.requests(await self.history(user, _HISTORY))
        ids = [job for request in found for job in reversed(request.jobs)]
        return await self.jobs(list(dict.fromkeys([*ids, *await self.starred(user)])))

    async def keep(self, user: str, days: int) -> None:
        """Keep a person's pictures for so many days from when they were asked for, those they have too; favourites
        stay."""
        await self.choose(user, keep=days)
        starred = set(await self.starred(user))
        ended = [job for job in await self.all_of(user) if job.ended]
        open_ = {job.request for job in await self.active(user)} | {
            j.request for j in ended if j.id in starred
        }
        async with self.client.pipeline(transaction=False) as pipe:
            for job in ended:
                at = job.created // 1000 + days * 86_400
                if job.id not in starred:
                    pipe.expireat(keys.JOB(job.id), at)
                if job.request not in open_:
                    pipe.expireat(keys.REQUEST(job.request), at)
            await pipe.execute()

    async def starred(self, user: str) -> list[str]:
        """The jobs of a person's favourites, the last first."""
        return list(await self.client.zrevrange(keys.STARRED(user), 0, -1))

    async def is_starred(self, job: Job) -> bool:
        """Whether it is a favourite of its person's."""
        return await self.client.zscore(keys.STARRED(job.user), job.id) is not None

    async def open_in(self, chat: int) -> list[Request]:
        """The requests of a chat that may not have ended."""
        found = [await self.request(number) for number in await self.client.zrange(keys.OPEN(), 0, -1)]
        return [request for request in found if request is not None and request.chat == chat]

    async def place(self, job: Job) -> int | None:
        """How many jobs will start before this one, or None when it no longer waits."""
        rank: int | None = await self.client.zrank(keys.LINE(job.provider), job.id)
        return rank

    async def waiting(self, provider: str) -> int:
        """Jobs in a provider's line."""
        return int(await self.client.zcard(keys.LINE(provider)))

    async def line(self, provider: str, count: int = 1000) -> list[str]:
        """The first jobs of a provider's line, in the order in which they will start."""
        return list(await self.client.zrange(keys.LINE(provider), 0, count - 1))

    async def running(self, provider: str) -> int:
        """Jobs that hold one of a provider's slots."""
        return int(await self.client.scard(keys.SLOTS(provider)))

    async def durations(self, provider: str, model: str) -> list[float]:
        """Seconds that generations took which ended lately, newest first; at most 200."""
        raw = await self.client.lrange(keys.TOOK(provider, model), 0, -1)
        return [int(ms) / 1000 for ms in raw]

    async def counts(self) -> dict[str, int]:
        """Jobs ever admitted, delivered, failed and cancelled."""
        return {k: int(v) for k, v in (await self.client.hgetall(keys.COUNTS())).items()}

    async def changing(self, request_id: str, *, preview: bool = False) -> bool:
        """A change of a placeholder goes out now; until `shown` nobody knows whether and when it arrives. False: it must
        not, as the request has ended.

        Args:
            preview: it may become a photo. Another process may change its words meanwhile, so it has its own mark.
        """
        marks = ["previewing", "previewed"] if preview else ["changing"]
        return bool(await self._call("changing", request_id, *marks))

    async def shown(self, request_id: str, text: str, change: Literal["changing", "previewing"]) -> None:
        """Remember what a placeholder says now, and since when: that change has arrived. An end that it may hide is
        said once more by whoever looks at what is due."""
        await self._call("shown", request_id, text, change)

    async def settled(self, request_id: str, *names: Mark) -> None:
        """Nothing of that is left in the chat."""
        await self.client.hdel(keys.REQUEST(request_id), *names)

    async def sending(self, request_id: str, *, instead: bool = False) -> bool:
        """A placeholder goes out now. False: it must not, as there is one or the request has ended.

        Args:
            instead: of one that was deleted.
        """
        return bool(await self._call("sending", request_id, int(instead)))

    async def sent(self, request_id: str, count: int = -1) -> None:
        """Of one that went out it is known that it is not in the chat, or which it is; or (1) one may have stayed."""
        await self._call("sent", request_id, count)

    async def closed(self, request_id: str) -> None:
        """A request's status message says its end: it is due no more."""
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.zrem(keys.DUE(), f"r:{request_id}")
            pipe.hdel(keys.REQUEST(request_id), "closing")
            await pipe.execute()

    async def close_now(self, request_id: str) -> None:
        """Its end is to be said once more, as it is not what its person sees, however long ago it was."""
        now = await self.now()
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.zadd(keys.DUE(), {f"r:{request_id}": now})
            pipe.hdel(keys.REQUEST(request_id), "closing")
            await pipe.execute()

    async def close_later(self, request_id: str, seconds: float) -> None:
        """Look in so many seconds again at a request whose status message does not say its end yet."""
        at = await self.now() + round(seconds * 1000)
        await self.client.zadd(keys.DUE(), {f"r:{request_id}": at}, xx=True)

    async def all_durations(self) -> dict[tuple[str, str], list[float]]:
        """`durations` of every provider and model that made a picture lately."""
        found = {}
        for name in await self.client.smembers(keys.MODELS()):
            provider, _, model = name.partition(":")
            found[provider, model] = await self.durations(provider, model)
            if not found[provider, model]:
                await self.client.srem(keys.MODELS(), name)
        return found
