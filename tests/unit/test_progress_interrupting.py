import asyncio

import pytest

from clarion.progress.interrupting import Interrupter


async def work(made):
    """Sleep, as a block does that is being interrupted; whether it was ours is left in `made`."""
    interrupter = made["interrupter"] = Interrupter()
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError as error:
        made["ours"] = interrupter.close(error)
        made["cancelling"] = asyncio.current_task().cancelling()
        if not made["ours"]:
            raise


async def begun(made):
    task = asyncio.get_running_loop().create_task(work(made))
    await asyncio.sleep(0)
    return task


async def test_our_interruption_is_ours_and_leaves_no_trace():
    made = {}
    task = await begun(made)
    made["interrupter"].interrupt()
    await task
    assert (made["ours"], made["cancelling"]) == (True, 0)


async def test_from_another_thread():
    made = {}
    task = await begun(made)
    await asyncio.to_thread(made["interrupter"].interrupt)
    await task
    assert made["ours"]


async def test_a_cancellation_by_others_is_not_ours():
    made = {}
    task = await begun(made)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not made["ours"]


async def test_both_at_once_is_the_others():
    made = {}
    task = await begun(made)
    made["interrupter"].interrupt()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (made["ours"], made["cancelling"]) == (False, 1)


async def test_after_the_block_nobody_is_interrupted():
    interrupter = Interrupter()
    assert not interrupter.close(None)
    interrupter.interrupt()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_asked_twice_leaves_no_trace():
    made = {}
    task = await begun(made)
    made["interrupter"].interrupt()
    made["interrupter"].interrupt()
    await task
    assert (made["ours"], made["cancelling"]) == (True, 0)


def test_a_loop_that_is_closed_interrupts_nobody():
    async def make():
        return Interrupter()

    asyncio.run(make()).interrupt()
