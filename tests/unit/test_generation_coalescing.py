"""When what has gathered is written."""

from hypothesis import given
from hypothesis import strategies as st

from clarion.generation.coalescing import INTERVAL_MS, MAX_BYTES, Coalescing


def test_the_first_piece_goes_at_once_and_the_next_waits_for_its_time() -> None:
    gathered = Coalescing()
    assert gathered.wait_ms(0) is None
    gathered.add(3)
    assert gathered.wait_ms(1000) == 0
    gathered.take(1000)
    assert gathered.wait_ms(1001) is None
    gathered.add(3)
    assert gathered.wait_ms(1001) == INTERVAL_MS - 1
    assert gathered.wait_ms(1000 + INTERVAL_MS) == 0


def test_after_a_pause_a_piece_goes_at_once() -> None:
    gathered = Coalescing()
    gathered.add(1)
    gathered.take(0)
    gathered.add(1)
    assert gathered.wait_ms(5_000) == 0


def test_much_goes_at_once() -> None:
    gathered = Coalescing()
    gathered.add(1)
    gathered.take(0)
    gathered.add(MAX_BYTES - 1)
    assert gathered.wait_ms(1) == INTERVAL_MS - 1
    gathered.add(1)
    assert gathered.wait_ms(1) == 0


def test_the_interval_is_what_was_promised() -> None:
    assert 25 <= INTERVAL_MS <= 40


def test_a_hundred_tokens_a_second_cost_a_third_of_a_write_each() -> None:
    gathered = Coalescing()
    writes = 0
    due_ms: int | None = None
    for now_ms in range(20_000):  # 2,000 tokens of 4 bytes
        if now_ms % 10 == 0:
            gathered.add(4)
            wait_ms = gathered.wait_ms(now_ms)
            assert wait_ms is not None
            due_ms = now_ms + wait_ms
        if due_ms is not None and now_ms >= due_ms:
            gathered.take(now_ms)
            writes, due_ms = writes + 1, None
    assert 2_000 * 0.25 < writes <= 2_000 * 0.4


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 6_000)), max_size=60))
def test_nothing_waits_longer_than_the_interval_and_nothing_is_forgotten(pieces: list[tuple[int, int]]) -> None:
    gathered = Coalescing()
    now_ms, written, held_since_ms = 0, 0, 0
    for pause_ms, size in pieces:
        until_ms = now_ms + pause_ms
        wait_ms = gathered.wait_ms(now_ms)
        if wait_ms is not None and now_ms + wait_ms <= until_ms:
            assert now_ms + wait_ms - held_since_ms <= INTERVAL_MS
            written += gathered.pending_bytes
            gathered.take(now_ms + wait_ms)
        now_ms = until_ms
        if not gathered.pending_bytes:
            held_since_ms = now_ms
        gathered.add(size)
    assert written + gathered.pending_bytes == sum(size for _, size in pieces)
