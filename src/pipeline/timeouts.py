"""How often and how long: every number of the pipeline's retries, pauses and time-outs.

In seconds, unless the name says TRIES. What an operator may change (LEASE, JOB_DEADLINE, POLL_INTERVAL) is in
`src.settings`; when a message that nobody acted on is sent again (3 s) is `RESEND` in
`src/jobs/lua/common.lua`; the pauses of a provider's breaker are in `src.limits.limiter`.
"""

# Submit

SUBMIT_TRIES = 4
"""Of one job at one provider, with pauses of 2, 4 and 8 s: what lasts longer is for a fail-over."""
STAY_AWAY = 5.0
"""Until a provider that limits our rate is asked again, where it does not say when itself."""
UNKNOWN_SUBMIT_PAUSE = 1.0
"""Before a submit whose fate is unknown is repeated: the person waits, and it is repeated only once."""
LONGEST_PAUSE = 60.0
"""Pauses double from try to try up to this: it is still noticed within a minute that all is well again."""
DEADLINE_NEARS = 0.25
"""Share of its time that a job has left when it is given to another provider, if none has taken it: that one needs
some of it."""
SOURCE_TIMEOUT = 60
"""For the download of a picture to be changed, of up to 20 MB, from Telegram."""

# Poll

POLL_AGAIN = 3.0
"""After a poll that failed, where the provider does not say when: the generation itself goes on."""
HUNG_POLL_PAUSE = 1.0
"""After a poll that was given up because it took longer than the lease: the time was lost already."""
FIRST_POLL = 3.0
"""From acceptance to the first poll of an unmeasured model: early, as its progress may tell the rest."""
SHORTEST_POLL = 0.4
"""Between two polls: how late a ready picture may be found at best."""
LONGEST_POLL = 10.0
"""Between two polls: how late a picture may be found whose end could not be foretold."""
FAR_FROM_THE_END = 15.0
"""Beyond this much time left by the provider's progress, one poll more on the way makes the estimate sure."""
POLL_MARGIN = 0.1
"""Behind the moment at which a generation should be ready, so that one poll finds it."""

# Deliver

LAST_PREVIEW = 2.0
"""A finished picture waits for a preview on its way to the chat: usually well under a second."""
FETCH_TRIES = 6
"""To get a finished picture, with a minute of pauses: it is paid for, and its host may be away."""
REFUSAL_TRIES = 3
"""At what Telegram refuses or our own code breaks on: such a thing rarely passes, but sometimes does."""
DELIVERY_PATIENCE = 30.0
"""For a turn where Telegram takes no more: asleep, a delivery keeps its place; its chat's own gate refuses it sooner."""
CLOSE_PATIENCE = 2.0
"""For the turn of an album's last words, which nobody waits for: the ledger has them said later."""
ALBUM_AGAIN = 50.0
"""Fallback re-check of an album's other pictures; the placeholder's arrival normally wakes them."""
CLOSING = 86_400.0
"""Last words that Telegram does not answer to are said again, each LEASE, for so long."""
SETTLES = 30.0
"""After it, a change of a placeholder that was on its way when the end was said has arrived, or never will."""
PING_AFTER = 60.0
"""Who waited longer no longer looks at the chat: a short message says that the picture is there."""

KEEP = 30.0
"""At least so long the store is asked to take a picture; else until the job's deadline."""
KEEP_AGAIN = 1.0
"""Between two tries of that."""

# Scheduler

LONGEST_LOOK = 0.5
"""Between two looks at what is due: how late a row may be that was written meanwhile."""
SHORTEST_LOOK = 0.1
"""Between two looks: what falls due or was polled meanwhile is one call."""
LEARN = 5.0
"""Between two readings of how long generations take."""
COUNT_WAITING = 1.0
"""Between two questions after the queue's length: what is sent meanwhile is added."""
