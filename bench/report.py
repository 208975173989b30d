"""docs/benchmarks.md and its charts, written from what the parts have saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench import charts
from bench.results import Part, Row, load
from bench.rig import ROOT

PARTS = ("click", "mailroom", "whole", "growth", "scale")
DOCS = ROOT / "docs"
CHARTS = DOCS / "benchmarks"
TITLES = {
    "click": "The click",
    "mailroom": "The mail room",
    "whole": "The whole way",
    "growth": "Growth",
    "scale": "Scale out",
}
ABOUT = {
    "click": "`POST /api/v1/messages`, one recipient, over kept connections; and from there to the accepted mail.",
    "mailroom": "Messages wait in a queue; time until the sink has all. Peers as they are documented, and tuned.",
    "whole": "One personalised message to 100,000 people on the bulk lane, from its commit until every state is right.",
    "growth": "The same work with a thousand and with a million customers and finished deliveries in the database.",
    "scale": "More worker processes, a second mail room, a cluster of three nodes, all on the same machine.",
}
INTRODUCTION = """\
# Benchmarks

Written by `make bench`; every figure is from a run on one machine, with everything real: RabbitMQ, PostgreSQL or
SQLite with `synchronous=FULL`, processes as in production. Mails of text and HTML, about 1.5 KB on the wire, to the
addresses and with the letter in [bench/letter](../bench/letter). The sink is Postfix's `smtp-sink`; `smtp-source`,
in C as well, says before and after each contestant what the machine gives at that moment. Contestants take turns, so
the ratios count; the absolute figures are this machine's.

`python -m bench click mailroom whole growth scale` runs single parts, `--quick` shows in a minute that they work.

Machine: {machine}.
"""


def write(parts: Iterable[str] = PARTS) -> None:
    found = [part for part in map(load, parts) if part is not None]
    if not found:
        return
    CHARTS.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION.format(machine=found[0].machine), "## Goals and results\n", _table_of_goals(found)]
    for part in found:
        sections += _section(part)
    (DOCS / "benchmarks.md").write_text("\n".join(sections))


def summary(parts: Iterable[Part]) -> str:
    """For the terminal."""
    rows = [(row.name, row.goal, _result(row), _met(row)) for part in parts for row in part.rows if row.goal]
    if not rows:
        return "nothing with a goal was measured"
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(word.ljust(width) for word, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    return "\n".join(lines)


def _table_of_goals(parts: list[Part]) -> str:
    lines = ["| what | goal | result | |", "|---|---|---|---|"]
    for part in parts:
        lines += [f"| {row.name} | {row.goal} | {_result(row)} | {_met(row)} |" for row in part.rows if row.goal]
    return "\n".join(lines) + "\n"


def _section(part: Part) -> Iterator[str]:
    yield f"## {TITLES[part.part]}\n\n{ABOUT[part.part]} Measured {part.at[:10]}.\n"
    for name, chart in _charts(part):
        (CHARTS / f"{name}.svg").write_text(chart)
        yield f"![{TITLES[part.part]}](benchmarks/{name}.svg)\n"
    # a goal's one figure stands in the table of goals already
    for rows in _of_one_shape(row for row in part.rows if not (row.goal and len(row.figures) == 1)):
        columns = list(rows[0].figures)
        yield (
            "\n".join(
                [
                    f"| | {' | '.join(columns)} |",
                    f"|---|{'---:|' * len(columns)}",
                    *(
                        f"| {row.name} | {' | '.join(_number(row.figures[column]) for column in columns)} |"
                        for row in rows
                    ),
                ]
            )
            + "\n"
        )
    missed = [row for row in part.rows if row.met is False]
    if missed:
        yield "\n".join(map(_missed, missed)) + "\n"
    if reasons := [row for row in part.rows if row.why and row.met is None]:
        yield "What holds each up:\n\n" + "\n".join(f"- {row.name}: {row.why}" for row in reasons) + "\n"
    yield "\n".join(f"- {note}" for note in part.notes) + "\n"
    if part.part == "whole" and (flames := sorted(CHARTS.glob("flame-*.svg"))):
        links = ", ".join(f"[{flame.stem.removeprefix('flame-')}](benchmarks/{flame.name})" for flame in flames)
        yield f"Flame graphs, sampled by py-spy while a mailing goes out: {links}.\n"


def _missed(row: Row) -> str:
    return f"- **Missed: {row.name}**, {row.goal}: {_result(row)}. {row.why[:1].upper()}{row.why[1:]}"


def _charts(part: Part) -> Iterator[tuple[str, str]]:
    by_name = {row.name: row for row in part.rows}
    if part.part == "mailroom":
        rates = {name: row.figures["mails/s"] for name, row in by_name.items() if "mails/s" in row.figures}
        yield "mailroom", charts.bars("Mails a second from a full queue", rates, "Posthaste", "mails/s")
    if part.part == "whole":
        costs = {
            name.rpartition(", ")[2]: {key: value for key, value in row.figures.items() if key != "sum"}
            for name, row in by_name.items()
            if name.startswith("µs of CPU per mail")
        }
        yield "whole", charts.stacked("Where the CPU time of a mail goes", costs, "µs")
    if part.part == "growth":
        yield from _growth(part)
    if part.part == "scale":
        for kind in ("sqlite", "postgresql"):
            its = {name: row for name, row in by_name.items() if name.endswith(f", {kind}")}
            if its:
                rates = {name.removesuffix(f", {kind}"): row.figures["mails/s"] for name, row in its.items()}
                yield f"scale-{kind}", charts.bars(f"Mails a second, scaled out, {kind}", rates, "2 worker", "mails/s")
    if part.part == "click":
        rates = {name: row.figures["requests/s"] for name, row in by_name.items() if "requests/s" in row.figures}
        yield "click", charts.bars("Requests a second", rates, "Posthaste", "requests/s")


def _growth(part: Part) -> Iterator[tuple[str, str]]:
    """Flat lines, if all is well: the axis ends a little above the goal."""
    for start, words, unit, axis, goal in (
        ("rate beside", "Rate beside a house that stays small", "ratio", (1.2, 0.3), 0.9),
        ("MB of", "Memory of each process", "MB", (250, 50), 200),
        ("ms of", "Pages and lists", "ms", (125, 25), 100),
    ):
        for kind in ("sqlite", "postgresql"):
            rows = [row for row in part.rows if row.name.startswith(start) and row.name.endswith(f", {kind}")]
            if rows:
                series = {_label(row.name, start): list(row.figures.values()) for row in rows}
                title = f"{words}, {kind}"
                yield (
                    f"growth-{start.split()[0].lower()}-{kind}",
                    charts.lines(title, list(rows[0].figures), series, unit, axis, goal),
                )


def _label(name: str, start: str) -> str:
    return name.removeprefix(start).rpartition(", ")[0].strip()


def _of_one_shape(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows that follow each other and have the same columns make one table."""
    group: list[Row] = []
    for row in rows:
        if group and list(row.figures) != list(group[0].figures):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _result(row: Row) -> str:
    if row.result:
        return row.result
    name, value = next(iter(row.figures.items()))
    return f"{_number(value)} {name}"


def _met(row: Row) -> str:
    return "" if row.met is None else "met" if row.met else "**missed**"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.1f}" if abs(value) >= 10 else f"{value:,.2f}"
