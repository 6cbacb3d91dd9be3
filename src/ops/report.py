"""A snapshot in words, for chat, terminal, alerts and status page.

Plain text; the words are in `bot/texts/*/ops.ftl`.
"""

from __future__ import annotations

from src.jobs.spending import PICTURES, Costs, amount
from src.ops import thresholds
from src.ops.advice import Advice, advise
from src.ops.snapshot import Figure, Snapshot
from src.ops.thresholds import Level
from src.telegram.i18n import Translator, get_texts

_FAR_DAYS = 100
MARKS = {Level.NORMAL: "🟢", Level.ATTENTION: "🟡", Level.PROBLEM: "🔴"}


def report(say: Translator, snapshot: Snapshot) -> str:
    """The whole of it: the guide's table, the providers, what happened lately, and what to do."""
    lines = [f"{MARKS[snapshot.level]} {say(f'ops-level-{snapshot.level.word}')}", ""]
    if snapshot.paused is not None:
        lines[1:] = [pause(say, snapshot), ""]
    for figure in snapshot.figures:
        name, value = say(f"ops-{figure.name}"), value_of(say, figure, snapshot)
        lines.append(f"{MARKS[figure.level]} {name}: {value}")
    lines.append("")
    for provider in snapshot.providers:
        low, high = (round(seconds) for seconds in provider.usual)
        lines.append(
            say(
                "ops-provider",
                provider=provider.name,
                running=provider.running,
                cap=provider.cap,
                waiting=provider.waiting,
                low=low,
                high=high,
            )
        )
    lines += [lately(say, snapshot), counts(say, snapshot), spending(say, snapshot), ""]
    lines += steps(say, snapshot)
    return "\n".join(lines)


def value_of(say: Translator, figure: Figure, snapshot: Snapshot) -> str:
    """What a figure is now, in words."""
    match figure.name:
        case "time":
            return (
                say("ops-no-jobs")
                if figure.value is None
                else say("ops-seconds", seconds=round(figure.value))
            )
        case "cpu" | "memory" | "load" | "disk":
            return say("ops-percent", percent=round(100 * (figure.value or 0)))
        case "line" if snapshot.moving:
            return say("ops-moving", seconds=round(snapshot.oldest))
        case "line" if snapshot.messages is None:
            return say("ops-no-broker")
        case "line":
            return say("ops-stuck", overdue=snapshot.overdue, messages=snapshot.messages)
        case "telegram" if figure.value is None:
            return say("ops-telegram-unasked")
        case "telegram" if not figure.level:
            return say("ops-telegram-hears", seconds=round(figure.value or 0))
        case "telegram":
            return say(
                "ops-telegram-deaf", seconds=round(figure.value or 0), why=deaf(say, snapshot.deaf_why)
            )
        case "providers":
            well = sum(not provider.level for provider in snapshot.providers)
            return say("ops-providers-value", well=well, all=len(snapshot.providers))
        case "pictures" if figure.value is None:
            return say("ops-pictures-unused")
        case "pictures":
            return say(
                "ops-pictures-value", kept=round(snapshot.kept / 1e6), room=round((figure.value or 0) / 1e6)
            )
        case "redis":
            store = snapshot.store
            if not store.saved:
                return say("ops-redis-unsaved")
            value = say("ops-redis-value", memory=round(store.memory / 1e6), commands=store.commands)
            if store.days is None or store.days > _FAR_DAYS:
                return value
            return f"{value}, {say('ops-redis-days', days=round(store.days))}"
        case "backup" if snapshot.backup.why:
            return say("ops-backup-failed", why=snapshot.backup.why)
        case "backup" if figure.value is None:
            return say("ops-backup-none")
        case "backup":
            return say("ops-backup-made", ago=span(say, figure.value or 0))
        case _:
            return str(round(figure.value or 0))


def deaf(say: Translator, why: str) -> str:
    """Why Telegram's updates do not come, as `hearing` keeps it."""
    key, _, said = why.partition(" ")
    return say(key, why=said) if key.startswith("ops-deaf-") else why


def deaf_in_english(why: str) -> str:
    """The same for a log, a probe or a terminal, where nobody says what they read."""
    return deaf(get_texts().translator("en"), why)


def scale_of(say: Translator, figure: Figure) -> str:
    """A figure's thresholds: what is normal, and from where it is a problem."""
    waiting, time = thresholds.WAITING, thresholds.TIME
    numbers = {
        "waiting": (waiting.attention, waiting.problem),
        "time": (time.attention, time.problem),
        "cpu": (100 * thresholds.CPU.attention, 0),
        "memory": (100 * thresholds.MEMORY.attention, 0),
        "load": (100 * thresholds.LOAD.attention, 0),
        "disk": (100 * thresholds.DISK.attention, 100 * thresholds.DISK.problem),
        "line": (thresholds.OLDEST.attention, thresholds.OLDEST.problem),
    }
    attention, problem = numbers.get(figure.name, (0, 0))
    return say(f"ops-{figure.name}-scale", attention=f"{attention:g}", problem=f"{problem:g}")


def steps(say: Translator, snapshot: Snapshot) -> list[str]:
    """What to do, one line a step and one for its command."""
    advice = advise(snapshot)
    lines = [say("ops-next") + ":"]
    for step in advice:
        lines.append("→ " + words(say, step))
        if step.command:
            lines.append("   " + step.command)
    if not advice:
        lines[0] += " " + say("ops-nothing")
    return lines


def words(say: Translator, step: Advice) -> str:
    """A step without its command."""
    # As text: Fluent would print a number in its own way, and set one in a setting's name apart.
    args = {name: deaf(say, str(value)) for name, value in step.args.items()}
    return say(step.key, **args)


def pause(say: Translator, snapshot: Snapshot) -> str:
    """That nothing new is taken, and why; empty where it is."""
    return "" if snapshot.paused is None else say("ops-paused", why=snapshot.paused or "–")


def lately(say: Translator, snapshot: Snapshot) -> str:
    """The last ten minutes."""
    outcomes = [job.outcome for job in snapshot.recent]
    return say(
        "ops-lately",
        arrivals=f"{snapshot.arrivals * 60:.1f}",
        delivered=outcomes.count("delivered"),
        failed=outcomes.count("failed"),
    )


def counts(say: Translator, snapshot: Snapshot) -> str:
    """The totals since the beginning."""
    names = ("admitted", "delivered", "failed", "cancelled")
    return say("ops-counts", **{name: snapshot.counts.get(name, 0) for name in names})


def spending(say: Translator, snapshot: Snapshot) -> str:
    """What today's pictures cost."""
    sums, cap = costs(say, snapshot.spent.by.get("all", {})) or "0", snapshot.spend_cap
    if cap is None:
        return say("ops-spent", costs=sums)
    percent = round(snapshot.spent_share or 0)
    return say("ops-spent-of-cap", costs=sums, percent=percent, cap=cost(say, cap.amount, cap.unit))


def costs(say: Translator, sums: Costs) -> str:
    """Costs as people read them, pictures first: `12 pictures, 0.24 USD`."""
    named = sorted(sums.items(), key=lambda item: (item[0] != PICTURES, item[0]))
    return ", ".join(cost(say, amount(value), unit) for unit, value in named)


def cost(say: Translator, number: float, unit: str) -> str:
    """So many of a unit."""
    return say("ops-cost", unit=unit, number=number, shown=f"{number:.10g}")


def span(say: Translator, seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return say("ops-since", unit=unit, number=int(seconds // length))
    return say("ops-since", unit="seconds", number=int(seconds))
