"""A load run's figures as text for a terminal, and as a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from src.load.figures import Figures, Spread, table
from src.load.run import Record
from src.ops.thresholds import CPU, Level
from src.settings import SettingsError

_MARKS = {Level.NORMAL: "  ", Level.ATTENTION: "! ", Level.PROBLEM: "!!"}


def text(found: Figures) -> str:
    """The guide's table, the figures behind it, and the verdict."""
    rows = [("what", "figure", "", "normal, problem")]
    rows += [(r.what, r.figure, f"{_MARKS[r.level]} {r.level.word}", r.limits) for r in table(found)]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    head = (
        f"{found.users} people ({found.mix}), {found.processes} worker process(es), {found.minutes:g} minutes: "
        f"{found.jobs} jobs, {found.jobs_a_minute:.0f} a minute, up to {found.in_flight} in flight"
    )
    return "\n".join([head, "", *lines, "", *_details(found), "", verdict(found)])


def verdict(found: Figures) -> str:
    """One sentence: what is wrong; or how many more people, and what gives first."""
    wrong = [f"{n} wishes ({kind}) without an end" for kind, n in found.endless.items()]
    wrong += [f"{found.unshown} pictures delivered that no chat shows"] if found.unshown else []
    wrong += [f"{found.doubled} pictures shown twice"] if found.doubled else []
    wrong += [f"{found.charged_twice} pictures submitted twice"] if found.charged_twice else []
    wrong += [f"{found.unfinished} jobs without an end"] if found.unfinished else []
    wrong += [f"{n} times no answer to {what}" for what, n in found.vain.items()]
    wrong += [f"somebody's part broke off: {why}" for why in found.broken]
    if wrong:
        return f"NOT GOOD: {'; '.join(wrong)}."
    if found.more_people >= 0:
        return (
            f"This set-up carries about {found.more_people} people more ({found.users + found.more_people} in all); "
            f"then {found.gives_first} gives first."
        )
    return (
        f"This set-up carries about {found.users + found.more_people} of these {found.users} people; "
        f"{found.gives_first} gives first."
    )


def _details(found: Figures) -> list[str]:
    cpu = ", ".join(
        f"{part} {share:.0%} ({found.cpu_a_job_ms[part]:.1f} ms a job)" for part, share in found.cpu.items()
    )
    memory = ", ".join(f"{part} {size / 1e6:.0f} MB" for part, size in found.memory.items())
    rows = [
        ("outcomes", ", ".join(f"{name} {n}" for name, n in sorted(found.outcomes.items()))),
        ("of a core", cpu),
        ("memory", memory),
        ("from a message to its placeholder", _spread(found.answered)),
        *(
            (
                f"  {kind}",
                f"{_spread(of.answered)} of {of.wishes}; {of.calls_a_picture:.1f} calls a picture; "
                + ", ".join(f"{verdict} {n}" for verdict, n in of.verdicts.items()),
            )
            for kind, of in found.kinds.items()
        ),
        (
            "in line / submitting / delivering",
            f"{_spread(found.in_line)} / {_spread(found.submit)} / {_spread(found.delivery)}",
        ),
        ("readiness noticed after", _spread(found.noticed)),
        ("polls a job", f"{found.polls_a_job:.2f}"),
        (
            "Bot API calls a job",
            f"{found.calls_a_job:.2f} ({found.calls_a_second:.1f} a second with {found.calls_besides} for history, models "
            f"and the like; {found.telegram_429} refused by Telegram)",
        ),
        (
            "Redis commands a job",
            f"{found.commands_a_job:.0f}: {found.commands_a_job - found.commands_by_scripts:.0f} from clients, "
            f"{found.commands_by_scripts:.0f} inside scripts",
        ),
        ("ledger memory a finished job", f"{found.redis_bytes_a_job:.0f} bytes"),
        (
            "error of the first estimate",
            f"{found.eta_error.p50:.0%} (p95 {found.eta_error.p95:.0%}) of {found.eta_error.count}",
        ),
        (
            "jobs that met a closed gate",
            ", ".join(f"{g} {n}" for g, n in sorted(found.refusals.items())) or "none",
        ),
        ("wishes refused", f"{found.people_refused}; {found.bought} packs bought"),
        (
            "fairness",
            f"with up to {found.heavy_waiting_most} jobs of one person in line, others' next job waited "
            f"{_spread(found.others_wait_under_flood)}, that person's {_spread(found.heavy_wait)}; "
            f"first come first served it would have been {found.first_in_line_first_out_wait:.0f} s",
        ),
        (
            "lost / shown twice / submitted twice",
            f"{found.lost} / {found.doubled} / {found.charged_twice}; {found.unfinished} open at the end",
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def _spread(spread: Spread) -> str:
    return f"{spread.p50:.2f} s (p95 {spread.p95:.2f})"


def pyplot() -> Any:
    """What draws.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as found
    except ImportError:
        raise SettingsError("--png needs matplotlib: pip install 'imagebot[chart]'") from None
    return found


def chart(record: Record, found: Figures, path: Path) -> None:
    """Draw the run over time into a PNG.

    Raises:
        SettingsError: matplotlib is not installed.
    """
    plot = pyplot()
    figure, (upper, lower) = plot.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")

    def minutes(at: float) -> float:
        return (at - record.began) / 60

    for part in ("worker", "bot", "redis"):
        shares = record.machine.shares(part, record.began, record.ended, window=5)
        upper.plot([minutes(at) for at, _ in shares], [100 * c for _, c in shares], label=part)
    upper.axhline(100 * CPU.attention, color="grey", linewidth=0.8, linestyle="--")
    upper.set_ylabel("% of a core")
    upper.legend(loc="upper left")
    upper.set_title(f"{found.users} people, {found.processes} worker process(es)")
    wholes = [
        (minutes(asked["at"] + asked["pictures"][-1]), asked["pictures"][-1])
        for asked in record.world["asked"]
        if asked["pictures"] and asked["kind"] != "heavy"
    ]
    lower.scatter([x for x, _ in wholes], [y for _, y in wholes], s=4, alpha=0.5)
    lower.set_ylabel("seconds to the picture")
    lower.set_xlabel("minutes")
    lower.set_ylim(bottom=0)
    figure.savefig(path, dpi=120)
    plot.close(figure)
