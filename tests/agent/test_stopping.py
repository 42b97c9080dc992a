"""Stopping the agent: every task ends, also one that loses its first cancellation."""

from __future__ import annotations

import asyncio

from agent.connections import cancel


def test_a_task_that_loses_a_cancellation_is_ended_all_the_same() -> None:
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    async def stop() -> None:
        task = asyncio.create_task(deaf())
        await asyncio.sleep(0)
        await asyncio.wait_for(cancel([task]), 10)
        assert task.cancelled()

    asyncio.run(stop())
    assert lost == 3
