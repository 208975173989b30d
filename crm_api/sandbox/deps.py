"""The sandbox's store, made when it is first asked for."""

from typing import Annotated

from fastapi import Depends, Request

from crm_api.sandbox.store import SandboxStore


async def _store(request: Request) -> SandboxStore:
    store: SandboxStore = request.app.state.sandbox
    return store


StoreDep = Annotated[SandboxStore, Depends(_store)]
