"""Again, elsewhere, or give up: the policy as a table, with nothing running."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiogram.exceptions import (
    RestartingTelegram,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import GetMe, TelegramMethod

from src.jobs import Job, Spec, State, Wake
from src.pipeline import retry_policy
from src.pipeline.retry_policy import Again, Elsewhere, GiveUp
from src.providers.base import ErrorKind, ProviderError
from src.routing import Route
from src.telegram.client import Undeliverable

CALL = cast(TelegramMethod[Any], GetMe())
OPENAI, THIRD = Route("openai", "o"), Route("third", "t")
ONE, TWO = (OPENAI,), (OPENAI, THIRD)


def _job(**fields: Any) -> Job:
    """A job that kie has been given once, a minute before its deadline."""
    known: dict[str, Any] = {"tries": 1, "now": 1000, "deadline": 61_000, **fields}
    spec = Spec("a fox", "m", "1:1", 1, "en")
    return Job("j", State.SUBMITTING, "1", "r", "kie", spec, Wake("j", "kie", 1), 1, 0, **known)


def _error(kind: ErrorKind = ErrorKind.UPSTREAM, **fields: Any) -> ProviderError:
    return ProviderError(kind, "c", **fields)


UPSTREAM = GiveUp(ErrorKind.UPSTREAM, "c")

SUBMITS: dict[str, tuple[Job, ProviderError, tuple[Route, ...], Again | Elsewhere | GiveUp]] = {
    # A limit of rate is no failure: it costs no try, however often it is met.
    "limited": (_job(tries=9), _error(ErrorKind.RATE_LIMITED), ONE, Again(5.0, "limited", "kie", free=True)),
    "limited, says when": (
        _job(),
        _error(ErrorKind.RATE_LIMITED, retry_after=0),
        ONE,
        Again(0.0, "limited", "kie", free=True),
    ),
    "limited, and what came of it is unknown": (
        _job(unknown=1),
        _error(ErrorKind.RATE_LIMITED, submitted=True),
        ONE,
        Again(5.0, "limited", "kie", free=True),
    ),
    "limited until the deadline nears": (
        _job(now=42_000),
        _error(ErrorKind.RATE_LIMITED),
        ONE,
        Elsewhere(ONE, Again(5.0, "limited", "kie", free=True)),
    ),
    "limited until the deadline nears, and what came of it is unknown": (
        _job(now=42_000, unknown=1),
        _error(ErrorKind.RATE_LIMITED, submitted=True),
        ONE,
        Again(5.0, "limited", "kie", free=True),
    ),
    "limited beyond the deadline": (
        _job(),
        _error(ErrorKind.RATE_LIMITED, retry_after=60),
        ONE,
        Elsewhere(ONE, GiveUp(ErrorKind.TIMEOUT, "limited")),
    ),
    "limited beyond the deadline, nobody else": (
        _job(),
        _error(ErrorKind.RATE_LIMITED, retry_after=60),
        (),
        GiveUp(ErrorKind.TIMEOUT, "limited"),
    ),
    "first try": (_job(), _error(), ONE, Again(2.0, "retry", "upstream")),
    "third try": (_job(tries=3), _error(), ONE, Again(8.0, "retry", "upstream")),
    "says when": (_job(), _error(retry_after=7), ONE, Again(7.0, "retry", "upstream")),
    "the deadline nears": (
        _job(now=45_000),
        _error(),
        ONE,
        Elsewhere(ONE, Again(2.0, "retry", "upstream")),
    ),
    "the deadline nears, the other had it": (
        _job(now=45_000, failovers=("openai", "kie")),
        _error(),
        ONE,
        Again(2.0, "retry", "upstream"),
    ),
    "beyond the deadline": (
        _job(now=59_000),
        _error(),
        ONE,
        Elsewhere(ONE, GiveUp(ErrorKind.TIMEOUT, "retry")),
    ),
    "last try": (_job(tries=4), _error(), ONE, Elsewhere(ONE, UPSTREAM)),
    "last try, nobody else": (_job(tries=4), _error(), (), UPSTREAM),
    "last try, the other had it": (_job(tries=4, failovers=("openai",)), _error(), ONE, UPSTREAM),
    "last try, of three": (_job(tries=4, failovers=("kie",)), _error(), TWO, Elsewhere(TWO, UPSTREAM)),
    "last try, of three that two have had": (
        _job(tries=4, failovers=("openai", "kie")),
        _error(),
        TWO,
        Elsewhere((THIRD,), UPSTREAM),
    ),
    "last try, of three that all have had": (
        _job(tries=4, failovers=("openai", "third", "kie")),
        _error(),
        TWO,
        UPSTREAM,
    ),
    "unknown": (
        _job(),
        _error(ErrorKind.NETWORK, submitted=True),
        ONE,
        Again(1.0, "submit_unknown", counts="unknown"),
    ),
    "unknown twice": (
        _job(unknown=1),
        _error(ErrorKind.NETWORK, submitted=True),
        ONE,
        GiveUp("submit_unknown"),
    ),
    "unknown near the deadline": (
        _job(now=50_000),
        _error(submitted=True),
        ONE,
        Again(1.0, "submit_unknown", counts="unknown"),
    ),
    "unknown beyond the deadline": (
        _job(now=60_000),
        _error(submitted=True),
        ONE,
        GiveUp(ErrorKind.TIMEOUT, "submit_unknown"),
    ),
}


@pytest.mark.parametrize(("job", "error", "others", "decision"), SUBMITS.values(), ids=SUBMITS.keys())
def test_after_a_submit(
    job: Job,
    error: ProviderError,
    others: tuple[Route, ...],
    decision: Again | Elsewhere | GiveUp,
) -> None:
    assert retry_policy.after_submit(job, error, on_unknown="retry", others=others) == decision


def test_an_unknown_submit_is_not_repeated_where_the_operator_says_so() -> None:
    error = _error(ErrorKind.NETWORK, submitted=True)
    decision = retry_policy.after_submit(_job(), error, on_unknown="fail", others=ONE)
    assert decision == GiveUp("submit_unknown")


AT_ONCE = {ErrorKind.AUTH, ErrorKind.QUOTA, ErrorKind.MODEL_GONE}
LATER = {ErrorKind.UPSTREAM, ErrorKind.OVERLOADED, ErrorKind.TIMEOUT, ErrorKind.NETWORK}


@pytest.mark.parametrize("kind", ErrorKind)
def test_what_goes_to_another_provider(kind: ErrorKind) -> None:
    """What is the provider's fault, and never a refusal of what the picture shows."""
    moves = {
        tries: isinstance(
            retry_policy.after_submit(_job(tries=tries), _error(kind), on_unknown="retry", others=ONE),
            Elsewhere,
        )
        for tries in (1, 4)
    }
    assert moves == {1: kind in AT_ONCE, 4: kind in AT_ONCE | LATER}


@pytest.mark.parametrize(
    ("unknown", "idempotent", "on_unknown", "submit", "call"),
    [
        # The claim of a lost submit has counted it; a lost call is counted by what is decided here.
        (0, False, "retry", True, True),
        (1, False, "retry", True, False),
        (2, False, "retry", False, False),
        (0, False, "fail", False, False),
        (9, True, "fail", True, True),
    ],
)
def test_after_a_process_died(
    unknown: int, idempotent: bool, on_unknown: retry_policy.OnUnknown, submit: bool, call: bool
) -> None:
    job, end = _job(unknown=unknown), GiveUp("submit_unknown")
    before = retry_policy.before_repeated_submit(job, idempotent=idempotent, on_unknown=on_unknown)
    assert before == (None if submit else end)
    after = retry_policy.after_lost_call(job, idempotent=idempotent, on_unknown=on_unknown)
    assert after == (Again(0.0, "worker_lost", counts="unknown") if call else end)


@pytest.mark.parametrize(("retry_after", "pause"), [(None, 3.0), (7, 7.0), (600, 60.0)])
def test_after_a_poll(retry_after: float | None, pause: float) -> None:
    assert retry_policy.after_poll(_error(retry_after=retry_after)) == pause


DELIVERIES: dict[str, tuple[Job, Exception, Again | GiveUp]] = {
    "fetch": (_job(deliveries=1), _error(), Again(2.0, "retry", "upstream")),
    "fetch, says when": (_job(deliveries=5), _error(retry_after=9), Again(9.0, "retry", "upstream")),
    "fetch, the last": (_job(deliveries=6), _error(), UPSTREAM),
    "fetch, gone": (_job(deliveries=1), _error(ErrorKind.NOT_FOUND), GiveUp(ErrorKind.NOT_FOUND, "c")),
    "nobody can see it": (_job(), Undeliverable("blocked"), GiveUp("blocked", told=False)),
    "limited": (
        _job(deliveries=99),
        TelegramRetryAfter(CALL, "", 30),
        Again(30.0, "limited", "telegram", free=True),
    ),
    # Attempts that failed otherwise do not count against the message.
    "refused": (
        _job(deliveries=9, refused=1),
        TelegramBadRequest(CALL, ""),
        Again(60.0, "retry", "bad_request", counts="refused"),
    ),
    "refused, the last": (
        _job(deliveries=3, refused=2),
        TelegramBadRequest(CALL, ""),
        GiveUp("telegram_refused"),
    ),
    # Telegram may have done it; it is tried until the picture is shown.
    "unheard": (
        _job(deliveries=2),
        TelegramNetworkError(CALL, ""),
        Again(4.0, "retry", "TelegramNetworkError", counts="unheard"),
    ),
    "unheard, long": (
        _job(deliveries=9999),
        TelegramServerError(CALL, ""),
        Again(60.0, "retry", "TelegramServerError", counts="unheard"),
    ),
    "too large for Telegram": (
        _job(deliveries=9),
        TelegramEntityTooLarge(CALL, ""),
        Again(60.0, "retry", "bad_request", counts="refused"),
    ),
    "too large for Telegram, for the third time": (
        _job(refused=2),
        TelegramEntityTooLarge(CALL, ""),
        GiveUp("telegram_refused"),
    ),
    "the token was taken back": (
        _job(deliveries=1),
        TelegramUnauthorizedError(CALL, ""),
        Again(2.0, "retry", "TelegramUnauthorizedError", counts="unheard"),
    ),
    "the token was taken back, and the deadline is over": (
        _job(deliveries=1, now=60_000),
        TelegramUnauthorizedError(CALL, ""),
        GiveUp("telegram_refused", "TelegramUnauthorizedError"),
    ),
    "unheard, restarting": (
        _job(deliveries=1),
        RestartingTelegram(CALL, ""),
        Again(2.0, "retry", "RestartingTelegram", counts="unheard"),
    ),
    "ours": (_job(deliveries=2), KeyError("x"), Again(4.0, "retry", "KeyError")),
    "ours, the last": (_job(deliveries=3), KeyError("x"), GiveUp("internal")),
}


@pytest.mark.parametrize(("job", "error", "decision"), DELIVERIES.values(), ids=DELIVERIES.keys())
def test_after_a_delivery(job: Job, error: Exception, decision: Again | GiveUp) -> None:
    assert retry_policy.after_delivery(job, error) == decision


@pytest.mark.parametrize(
    ("decision", "note"),
    [(Again(1.0, "retry", "upstream"), "retry:upstream"), (Again(1.0, "placed"), "placed")],
)
def test_what_the_story_says(decision: Again, note: str) -> None:
    assert decision.note == note
