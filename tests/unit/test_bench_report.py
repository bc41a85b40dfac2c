"""Outcomes, targets and tables of the benchmarks."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.outcome import Check, Outcome, Settings


@pytest.mark.parametrize(
    ("figure", "target", "at_least", "passed"),
    [(0.8, 0.8, True, True), (0.79, 0.8, True, False), (2.0, 2.0, False, True), (2.1, 2.0, False, False)],
)
def test_a_target_is_a_floor_or_a_ceiling(figure: float, target: float, at_least: bool, passed: bool) -> None:
    assert Check("it", figure, "KiB", target, at_least).passed is passed


def test_faults_of_a_client_become_faults_of_the_outcome() -> None:
    outcome = Outcome("Fan-out")
    outcome.reconcile("whole", {"faults": {"lost": 0, "duplicated": 0}})
    assert outcome.faults == []
    outcome.reconcile("leaky", {"faults": {"lost": 1200, "duplicated": 0, "gaps": 2}})
    assert outcome.faults == ["leaky: 1,200 lost, 2 gaps"]


def test_a_machine_with_few_descriptors_measures_less_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.outcome.most_readers", lambda: 700)
    notes: list[str] = []
    assert Settings().readers(15_000, notes) == 700
    assert notes == ["700 readers instead of 15,000: a process may open no more files here"]


def test_a_quick_run_says_that_it_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.outcome.most_readers", lambda: 19_700)
    notes: list[str] = []
    assert Settings(quick=True).readers(15_000, notes) == 1_500
    assert notes == ["quick run: 1,500 readers instead of 15,000"]


def test_a_table_is_markdown_with_figures_to_the_right() -> None:
    assert report.table([{"server": "bare", "per second": 123456.7}, {"server": "x", "per second": 1.5}]) == (
        "| server | per second |\n|--------|-----------:|\n| bare   |    123,457 |\n| x      |       1.50 |"
    )


def test_results_are_written_for_programs_and_for_people(tmp_path: Path) -> None:
    outcome = Outcome("Memory", [{"server": "x", "KiB": 1.0}], [Check("x", 3.0, "KiB", 2.0, at_least=False)])
    outcome.faults.append("x: 1 lost")
    out = tmp_path / "new" / "run.json"
    report.write(out, {"cores": 2}, {"uvicorn": "0.54"}, {"memory": outcome})
    found = json.loads(out.read_text())
    assert found["machine"] == {"cores": 2}
    assert found["scenarios"]["memory"]["checks"][0]["passed"] is False
    page = out.with_suffix(".md").read_text()
    assert "at most 2.00 KiB" in page
    assert "MISSED" in page
    assert "x: 1 lost" in page
