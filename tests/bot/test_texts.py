"""Both languages say the same things, and everything the code says exists."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fluent.syntax import FluentParser
from fluent.syntax import ast as fluent
from fluent.syntax.visitor import Visitor

import src
from src.jobs import Job, Spec, State, Wake
from src.jobs.estimate import estimate
from src.ops.snapshot import Level
from src.telegram.i18n import LANGUAGES, get_texts, shorten, width
from src.telegram.status_text import Status, ending, milestone, reason, span, status, time_left

SOURCE = Path(src.__file__).parent
FOLDER = SOURCE / "bot" / "texts"


class _Variables(Visitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_VariableReference(self, node: fluent.VariableReference) -> None:
        self.names.add(node.id.name)


def _messages(lang: str) -> dict[str, set[str]]:
    """The texts of a language, each with the arguments it uses."""
    found: dict[str, set[str]] = {}
    for path in sorted((FOLDER / lang).glob("*.ftl")):
        for entry in FluentParser().parse(path.read_text("utf-8")).body:
            assert not isinstance(entry, fluent.Junk), f"{path.name}: {entry.content[:80]}"
            if isinstance(entry, fluent.Message):
                assert entry.id.name not in found, f"{entry.id.name} is there twice"
                visitor = _Variables()
                visitor.visit(entry)
                found[entry.id.name] = visitor.names
    return found


def _literals() -> tuple[set[str], set[str]]:
    """All string literals of the code that speaks, and those that are asked for as texts."""
    literals, asked = set(), set()
    paths = [
        *(SOURCE / "bot").rglob("*.py"),
        *(SOURCE / "api").rglob("*.py"),
        *(SOURCE / "telegram").rglob("*.py"),
        *(SOURCE / "ops" / f"{n}.py" for n in ("advice", "alerts", "hearing", "report", "snapshot")),
    ]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # A text with its argument is kept as `key argument`.
                literals.add(node.value.strip())
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say":
                key = node.args[0]
                choices = [key.body, key.orelse] if isinstance(key, ast.IfExp) else [key]
                asked |= {str(c.value) for c in choices if isinstance(c, ast.Constant)}
    pages = "".join(page.read_text("utf-8") for page in sorted((SOURCE / "api" / "page").glob("*.html")))
    shown = set(re.findall(r'say\("([a-z-]+)"[,)]', pages))
    return literals | shown, asked | shown


# Put together from the names of the figures and levels in `src.ops.snapshot`.
FIGURES = (
    "waiting",
    "time",
    "cpu",
    "memory",
    "load",
    "disk",
    "workers",
    "line",
    "providers",
    "redis",
    "backup",
    "telegram",
    "pictures",
)
COMPOSED = {
    *(f"ops-{name}{end}" for name in FIGURES for end in ("", "-scale")),
    *(f"ops-level-{level.word}" for level in Level),
}


def test_languages_have_the_same_texts_with_the_same_arguments() -> None:
    english, russian = (_messages(lang) for lang in LANGUAGES)
    assert english.keys() == russian.keys()
    # `placeholder-album` has what its parts have.
    assert {k: v for k, v in english.items() if v != russian[k]} == {}


def test_every_text_exists_and_is_used() -> None:
    known = set(_messages("en"))
    literals, asked = _literals()
    assert asked - known == set()
    commands = {key for key in known if key.startswith("command-")}
    assert known - literals - commands == {"placeholder-album-head"} | COMPOSED - literals


def test_the_code_says_nothing_by_itself() -> None:
    literals, _ = _literals()
    assert [text for text in literals if re.search("[а-яА-Я]", text)] == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(1, "1 секунду"), (2, "2 секунды"), (5, "5 секунд"), (21, "21 секунду"), (60, "60 секунд")],
)
def test_russian_plurals(seconds: int, said: str) -> None:
    assert get_texts().get("ru", "refused-rate", seconds=seconds).endswith(f"через {said}.")


def test_the_guides_own_words() -> None:
    first = {lang: get_texts().get(lang, "refused-rate", seconds=9).splitlines()[0] for lang in LANGUAGES}
    assert first == {
        "ru": "⏳ Слишком много запросов. Подождите минуту.",
        "en": "⏳ Too many requests. Please wait a minute.",
    }


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.5, 3, "under 5 s"),
        (22, 41, "about 20–45 s"),
        (30, 30, "about 30–45 s"),
        (61, 100, "about 1–2 min"),
        (200, 410, "about 3–7 min"),
        (9000, 99_999, "an hour or more"),
    ],
)
def test_times_in_words(low: float, high: float, said: str) -> None:
    assert time_left(get_texts().translator("en"), *span(low, high)) == said


def test_places_far_back_change_rarely() -> None:
    steps = [milestone(place) for place in range(1, 1001)]
    assert steps == sorted(steps)
    assert len(set(steps)) < 25
    assert steps[:5] == [1, 2, 3, 4, 5]


def test_shortening_counts_as_telegram_does_and_keeps_characters_whole() -> None:
    assert width("🦊") == 2
    assert shorten("fox", 3) == "fox"
    for units in range(1, 12):
        cut = shorten("🦊🦊🦊🦊🦊🦊", units)
        assert width(cut) <= units
        assert set(cut) <= {"🦊", "…"}


def _said_at_the_end(lang: str, *jobs: Job) -> str:
    return ending(get_texts().translator(lang), jobs)


@pytest.mark.parametrize(
    ("lang", "done", "failed", "said"),
    [
        ("en", 2, 0, "✨ Both pictures are ready."),
        ("en", 3, 0, "✨ All 3 pictures are ready."),
        ("en", 1, 3, "✨ 1 of 4 pictures is ready."),
        ("en", 2, 2, "✨ 2 of 4 pictures are ready."),
        ("ru", 2, 0, "✨ Готовы обе картинки."),
        ("ru", 4, 0, "✨ Готовы все 4 картинки."),
        ("ru", 1, 3, "✨ Готово 1 из 4 картинок."),
        ("ru", 3, 1, "✨ Готово 3 из 4 картинок."),
    ],
)
def test_numbers_as_a_native_says_them(lang: str, done: int, failed: int, said: str) -> None:
    jobs = [_job(State.DELIVERED)] * done + [_job(State.FAILED, kind="timeout")] * failed
    assert _said_at_the_end(lang, *jobs).splitlines()[0] == said


def test_a_refusal_says_whether_it_counted() -> None:
    refused = _job(State.FAILED, kind="moderated_input", uncounted=True)
    assert "doesn’t count" in reason(get_texts().translator("en"), refused)
    assert "не засчитан" in reason(get_texts().translator("ru"), refused)
    assert "It counts" in reason(get_texts().translator("en"), _job(State.CANCELLED))
    taken_back = _job(State.CANCELLED, uncounted=True)
    assert "Nothing was drawn" in reason(get_texts().translator("en"), taken_back)
    assert "Nothing" not in reason(get_texts().translator("en"), _job(State.CANCELLED))
    assert _said_at_the_end("en", taken_back, taken_back) == "✖️ Cancelled."
    assert "One that you cancelled" in _said_at_the_end("en", taken_back, _job(State.CANCELLED))
    assert "count" not in reason(get_texts().translator("en"), _job(State.FAILED, kind="timeout"))
    # One picture of the request was drawn.
    assert "It counts" in _said_at_the_end("en", _job(State.DELIVERED), refused)


@pytest.mark.parametrize(
    ("elapsed", "progress", "said"),
    [
        (300.0, 0.25, "25% done. It takes a little longer than usual."),
        (300.0, None, "It takes a little longer than usual."),
        # A quarter in twenty seconds: it may take more than the 9 s that are usual.
        (20.0, 0.25, "25% done, ready in about 5–90 s"),
        (10.0, 0.25, "25% done, ready in about 15–45 s"),
    ],
)
def test_no_promise_that_the_providers_progress_denies(
    elapsed: float, progress: float | None, said: str
) -> None:
    job = replace(_job(State.RUNNING), progress=progress)
    durations = [24.0, 26.0, 28.0, 30.0, 32.0, 34.0]
    expected = estimate(durations, place=None, running=1, cap=1, elapsed=elapsed, progress=progress)
    assert said in status(get_texts().translator("en"), [job], [expected]).text


@pytest.mark.parametrize(
    ("lang", "ahead", "elapsed", "said"),
    [
        ("en", 3, 2.0, "has a queue: 3 before yours. Ready in about"),
        ("en", 0, 2.0, "Next at the service that draws it. Ready in about"),
        ("en", 3, 300.0, "has a queue: 3 before yours. It takes a little longer"),
        ("ru", 3, 2.0, "очередь: перед вами 3. Ждать примерно"),
        ("ru", 0, 300.0, "Вы следующие в очереди сервиса, который рисует. Чуть дольше"),
    ],
)
def test_who_stands_in_the_providers_own_queue_is_told_so(
    lang: str, ahead: int, elapsed: float, said: str
) -> None:
    durations = [24.0, 26.0, 28.0, 30.0, 32.0, 34.0]
    expected = estimate(durations, place=None, running=1, cap=1, elapsed=elapsed)

    def told(ahead: int | None) -> Status:
        job = replace(_job(State.RUNNING), ahead=ahead)
        return status(get_texts().translator(lang), [job], [expected])

    assert said in told(ahead).text
    assert told(ahead).shape != told(None).shape, "worth an edit"
    assert told(100).shape == told(101).shape, "not worth one"


def test_who_waits_for_a_second_provider_is_told_that_it_takes_longer() -> None:
    job = _job(State.WAITING, failovers=("kie", "openai"))
    known = estimate([], place=0, running=0, cap=1)
    first = status(get_texts().translator("en"), [_job(State.WAITING)], [known])
    again = status(get_texts().translator("en"), [job], [known])
    assert "Another one draws it now" in again.text
    assert again.shape != first.shape, "worth an edit"


def _job(state: State, **fields: Any) -> Job:
    spec = Spec("a fox", "m", "1:1", 1, "en", count=2)
    return Job("j", state, "1", "r", "kie", spec, Wake("j", "kie", 1), 1, 0, **fields)


def test_another_language_is_one_folder(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    texts = tmp_path / "src" / "bot" / "texts"
    shutil.copytree(texts / "en", texts / "de")
    general = texts / "de" / "general.ftl"
    words = general.read_text("utf-8").replace("language-name = English", "language-name = Deutsch")
    general.write_text(words, "utf-8")
    commands = texts / "de" / "commands.ftl"
    words = commands.read_text("utf-8").replace("command-help = ", "command-help = Hilfe: ")
    commands.write_text(words, "utf-8")
    script = """
from src.jobs import Person
from src.providers.base import Capabilities
from src.telegram import keyboards
from src.telegram.i18n import get_texts, language_of

assert (language_of(None, "de-AT"), language_of("de", "ru"), language_of(None, "fr")) == ("de", "de", "en")
say = get_texts().translator("de")
assert say("command-help").startswith("Hilfe")
rules = keyboards.rules(say, lang="de", admins=False, edits=True, covered=False, each=0, hourly=0)
for shown in (keyboards.settings(say, Person("1", lang="de"), Capabilities()), rules):
    assert "• Deutsch" in [key.text for row in shown.inline_keyboard for key in row]
"""
    # Its own folder comes before these.
    env = {**os.environ, "PYTHONPATH": f"{SOURCE.parent}:{SOURCE.parent}/tests/lazily"}
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
