"""Whoever looks for something by the field's words finds its file: by its path and its first docstring."""

from __future__ import annotations

import ast
import math
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]

QUESTIONS = {
    "Where are Bot API calls throttled?": "telegram/throttle.py",
    "What is retried, and what does the retry policy give up?": "pipeline/retry_policy.py",
    "Where does long polling with getUpdates happen?": "bot/polling.py",
    "Which endpoint receives Telegram's webhook?": "api/webhook.py",
    "How is the leader elected among bot processes?": "ops/leader.py",
    "Who writes the heartbeat of a process?": "ops/heartbeat.py",
    "Where are backup and restore of Redis?": "ops/backup.py",
    "Which thresholds make a figure a problem?": "ops/thresholds.py",
    "What does the container's health check run?": "ops/healthcheck.py",
    "Where is admission control, when a user is over the limit?": "pipeline/admission.py",
    "Which middleware does the Dramatiq broker have?": "worker/broker.py",
    "How do I connect to Redis with TLS or Sentinel?": "store/clients.py store/addresses.py",
    "Where are the inline keyboards and their callback data?": "telegram/keyboards.py",
    "How is the ETA estimated from durations?": "jobs/estimate.py bot/estimates.py",
    "What does the worker process do on SIGTERM?": "worker/process.py",
    "Which scheduler polls jobs that are due?": "pipeline/scheduler.py",
    "Where are job state transitions defined?": "jobs/transitions.py",
    "Where are translations of texts to other languages loaded?": "telegram/i18n.py",
    "Where are spans of a crashed process kept on disk?": "observability/crash_spool.py",
    "How is a provider's result image downloaded?": "providers/results.py providers/images.py providers/http.py",
}


def words(text: str) -> list[str]:
    """Lower case, without endings: `retries` and `retried` are one word."""
    found = (word for word in re.findall(r"[a-z][a-z0-9]+", text.lower()))
    return [re.sub(r"(ies|ied|ing|ed|es|s|e|y)$", "", word) for word in found]


def files() -> dict[str, Counter[str]]:
    """What is said of each file: its path, three times, and the docstring of its module."""
    found = {}
    for file in (file for top in ("src", "observability") for file in (ROOT / top).rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        if file.name != "__init__.py" and not path.startswith(("src/sandbox", "src/load")):
            said = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
            found[path] = Counter(words(f"{path.removesuffix('.py')} " * 3 + said))
    return found


def found_by(question: str, library: dict[str, Counter[str]]) -> list[str]:
    """The three files that fit best, by TF-IDF."""
    asked = set(words(question))
    rarity = {
        word: math.log(len(library) / n)
        for word in asked
        if (n := sum(word in said for said in library.values()))
    }

    def fit(path: str) -> float:
        said = library[path]
        return sum(rare * (1 + math.log(said[word])) for word, rare in rarity.items() if said[word])

    return sorted(library, key=fit, reverse=True)[:3]


def test_twenty_questions_find_their_file() -> None:
    library = files()
    answers = {question: found_by(question, library) for question in QUESTIONS}
    missed = {
        question: found
        for question, found in answers.items()
        if not any(path.endswith(tuple(QUESTIONS[question].split())) for path in found)
    }
    assert len(missed) <= len(QUESTIONS) - 15, missed
    named = [part for parts in QUESTIONS.values() for part in parts.split()]
    assert [part for part in named if not any(path.endswith(part) for path in library)] == []
