"""Tables for people, JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.outcome import Check, Outcome


def text(value: Any) -> str:
    """Return a figure as short as it stays honest: three digits that mean something."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a Markdown table that also reads well on a terminal; figures stand to the right."""
    if not rows:
        return ""
    titles = list(rows[0])
    cells = [[text(row.get(title, "")) for title in titles] for row in rows]
    right = [all(isinstance(row.get(title), int | float) for row in rows) for title in titles]
    widths = [max(3, len(title), *(len(line[at]) for line in cells)) for at, title in enumerate(titles)]

    def line(parts: Sequence[str]) -> str:
        padded = (part.rjust(w) if r else part.ljust(w) for part, w, r in zip(parts, widths, right, strict=True))
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([line(titles), rule, *(line(parts) for parts in cells)])


def checked(check: Check) -> dict[str, Any]:
    bound = "at least" if check.at_least else "at most"
    return {
        "target": check.what,
        "must be": f"{bound} {text(check.target)} {check.unit}".strip(),
        "is": f"{text(check.figure)} {check.unit}".strip(),
        "": "reached" if check.passed else "MISSED",
    }


def section(outcome: Outcome) -> str:
    """Return one scenario as Markdown."""
    parts = [f"## {outcome.title}", table(outcome.rows), table([checked(check) for check in outcome.checks])]
    parts.append("\n".join(f"- {note}" for note in outcome.notes))
    if outcome.faults:
        parts.append(
            "**Not every reader got every event once and in order, or shows what the hub has:**\n"
            + "\n".join(f"- {fault}" for fault in outcome.faults)
        )
    return "\n\n".join(part for part in parts if part)


def markdown(machine: Mapping[str, Any], versions: Mapping[str, str], outcomes: Sequence[Outcome]) -> str:
    """Return the whole run as a page."""
    facts = [{"": name, "this machine": str(value)} for name, value in machine.items()]
    installed = [{"": name, "version": version} for name, version in versions.items()]
    head = ["# Benchmark results", table(facts), table(installed)]
    return "\n\n".join([*head, *(section(outcome) for outcome in outcomes)]) + "\n"


def write(out: Path, machine: Mapping[str, Any], versions: Mapping[str, str], outcomes: Mapping[str, Outcome]) -> None:
    """Write the run as JSON to `out`, and as Markdown beside it."""
    found = {
        name: {**asdict(outcome), "checks": [{**asdict(c), "passed": c.passed} for c in outcome.checks]}
        for name, outcome in outcomes.items()
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "versions": versions, "scenarios": found}, indent=2) + "\n")
    out.with_suffix(".md").write_text(markdown(machine, versions, list(outcomes.values())))
