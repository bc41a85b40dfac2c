"""What the server's own options say about worker processes."""

from __future__ import annotations

import logging

import pytest

from clarion.errors import ClarionError
from clarion.workers import WORKERS_ENVIRONMENT, check_workers, count_workers


@pytest.mark.parametrize(
    ("argv", "environ", "workers"),
    [
        (["uvicorn", "app:app"], {}, 1),
        (["uvicorn", "app:app", "--workers", "4"], {}, 4),
        (["uvicorn", "--workers=4", "app:app"], {}, 4),
        (["gunicorn", "-w", "3", "app:app"], {}, 3),
        (["hypercorn", "-w"], {}, 1),
        (["uvicorn", "--workers", "many"], {}, 1),
        (["uvicorn"], {"WEB_CONCURRENCY": "2"}, 2),
        (["uvicorn"], {"WEB_CONCURRENCY": ""}, 1),
        (["uvicorn", "--workers", "1"], {"WEB_CONCURRENCY": "2"}, 1),
        (["clarion", "run"], {WORKERS_ENVIRONMENT: "5", "WEB_CONCURRENCY": "2"}, 5),
    ],
)
def test_counting(argv: list[str], environ: dict[str, str], workers: int) -> None:
    assert count_workers(argv, environ) == workers


def test_one_process_s_own_journal_is_refused_where_it_is_known_to_be_wrong() -> None:
    with pytest.raises(ClarionError, match="4 worker processes"):
        check_workers(False, ["clarion"], {WORKERS_ENVIRONMENT: "4"})


def test_it_is_said_where_it_is_a_guess(caplog: pytest.LogCaptureFixture) -> None:
    check_workers(False, ["uvicorn", "--workers", "2"], {})
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_shared_journal_and_one_worker_are_fine(caplog: pytest.LogCaptureFixture) -> None:
    check_workers(True, ["uvicorn", "--workers", "2"], {WORKERS_ENVIRONMENT: "2"})
    check_workers(False, ["uvicorn"], {})
    assert not caplog.records
