"""What a scenario is given, and what it finds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from clarion.bench.machine import most_readers

BRIEF_CHARS: Final = 200
"""Of a value, in a fault: the beginning tells which one it is."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much to measure."""

    quick: bool = False
    rounds: int = 3
    only: tuple[str, ...] = ()
    """Contenders to measure; empty for all."""
    say: Callable[[str], None] = print

    def readers(self, wanted: int, notes: list[str]) -> int:
        """Return how many of the wanted readers this machine and this run allow, and note it when it is
        fewer."""
        allowed = most_readers()
        if allowed < wanted:
            notes.append(f"{allowed:,} readers instead of {wanted:,}: a process may open no more files here")
        scaled = max(50, wanted // 10) if self.quick else wanted
        if self.quick:
            notes.append(f"quick run: {scaled:,} readers instead of {wanted:,}")
        return min(scaled, allowed)

    def chosen(self, *names: str) -> list[str]:
        """Return those of the named contenders that this run is about."""
        return [name for name in names if not self.only or name in self.only]


@dataclass(frozen=True, slots=True)
class Check:
    """One target of the project, and whether this run reached it."""

    what: str
    figure: float
    unit: str
    target: float
    at_least: bool
    """Whether the target is a floor; else it is a ceiling."""

    @property
    def passed(self) -> bool:
        return self.figure >= self.target if self.at_least else self.figure <= self.target


@dataclass(slots=True)
class Outcome:
    """What a scenario found: a table, checks against the targets, and whatever was lost, doubled, out of order or
    folded to something else than the hub has."""

    title: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    """One mapping per row of the table, from column title to text or number; the same columns in each."""
    checks: list[Check] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """A benchmark that finds one has failed, whatever its figures say."""
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def reconcile(self, who: str, collected: Mapping[str, Any]) -> None:
        """Take over the faults that a load client counted."""
        found = {kind: count for kind, count in collected.get("faults", {}).items() if count}
        if found:
            self.faults.append(f"{who}: " + ", ".join(f"{count:,} {kind}" for kind, count in found.items()))

    def agree(self, who: str, shown: Any, value: Any) -> None:
        """Note a fault unless a reader shows what the hub has."""
        if shown != value:
            self.faults.append(f"{who}: shows {_brief(shown)}, and the hub has {_brief(value)}")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= BRIEF_CHARS else f"{text[:BRIEF_CHARS]}... ({len(text):,} characters)"
