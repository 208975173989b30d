"""Clicks that wait together, so that the intake takes them in one commit."""

import asyncio
from collections.abc import Sequence

from crm_api.messages.idempotency import Answer
from crm_api.messages.intake import Intake, Request
from tests.support.crm import Crm


async def taken_together(crm: Crm, requests: Sequence[Request]) -> list[Answer | BaseException]:
    intake = Intake(crm.database, crm.files, crm.settings)
    intake._loop = asyncio.get_running_loop()  # they come before the thread looks
    waiting = [asyncio.create_task(intake.take(request)) for request in requests]
    await asyncio.sleep(0)
    intake.start()
    try:
        return await asyncio.gather(*waiting, return_exceptions=True)
    finally:
        await asyncio.to_thread(intake.close)
