"""`clarion bench`: the table, the exit code, and one small run of the real processes behind it."""

import sys

import pytest

from clarion import bench
from clarion.bench.fanout import Contender, FanOut, Stream, bare, clarion_socket
from clarion.bench.probe import Asked, Probe
from clarion.bench.processes import OrderFailed, Server, load_client

CLEAN = {"lost": 0, "duplicated": 0, "gaps": 0, "closed": 0}


def measured(per_second: float, **faults: int) -> FanOut:
    return FanOut(per_second, 100, per_second, 1.0, 0.5, CLEAN | faults)


def found(clarion: FanOut) -> bench.Found:
    return {
        mode: {"bare send loop": [measured(1000.0)], "Clarion, socket sink": [clarion]}
        for mode in ("lockstep", "burst")
    }


def test_the_table_shows_rates_and_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.report(found(measured(2500.0))) == 0
    shown = capsys.readouterr().out
    assert "2,500   x 2.50" in shown
    assert "Every reader got every event once and in order." in shown


@pytest.mark.parametrize("fault", list(CLEAN))
def test_a_fault_is_an_exit_code(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.report(found(measured(2500.0, **{fault: 1}))) == 1
    assert "Not every reader got every event" in capsys.readouterr().out


def test_ratios_are_taken_within_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    slow_and_quick: bench.Found = {
        "lockstep": {
            "bare send loop": [measured(100.0), measured(1000.0), measured(1000.0)],
            "Clarion, socket sink": [measured(90.0), measured(900.0), measured(900.0)],
        }
    }
    assert bench.report(slow_and_quick) == 0
    assert "x 0.90" in capsys.readouterr().out


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench, "is_supported", lambda: False)
    assert bench.main([]) == 1
    assert "needs Linux" in capsys.readouterr().err


@pytest.mark.parametrize(("contender", "mode"), [(bare(), "lockstep"), (clarion_socket(), "burst")])
def test_real_processes_are_measured_and_reconciled(contender: Contender, mode: str) -> None:
    with contender.start() as server, load_client() as client:
        stream = Stream(server, client, 5, contender.path)
        measured = stream.fan_out(mode, seconds=0.05)
    assert measured.faults == CLEAN
    assert measured.per_second > 0


def test_a_server_that_does_not_start_is_a_failure() -> None:
    with pytest.raises(OrderFailed, match="ended with code 3"):
        Server([sys.executable, "-c", "raise SystemExit(3)"])


def test_an_order_that_fails_says_why() -> None:
    with load_client() as client, pytest.raises(OrderFailed, match="KeyError"):
        client.ask("dance")


def test_pings_are_timed_from_when_they_were_due(monkeypatch: pytest.MonkeyPatch) -> None:
    class Connection:
        def recv(self, size: int) -> bytes:
            return b"HTTP/1.1 200 OK\r\n\r\npong"

    class Ready:
        def poll(self, seconds: float) -> list[tuple[int, int]]:
            return [(7, 1)]

    probe = Probe(0, 100.0)
    probe._poll.close()
    monkeypatch.setattr(probe, "_poll", Ready())
    monkeypatch.setattr("time.monotonic_ns", lambda: 5_000)
    probe._asked[7] = Asked(Connection(), due=2_000)  # type: ignore[arg-type]
    probe._take_answers(0)
    assert probe._taken == [(2_000, 3_000)]
