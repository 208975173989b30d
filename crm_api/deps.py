"""What a request handler can ask for. Everything is made once, in create_app."""

from typing import Annotated

from fastapi import Depends, Request

from crm_api.auth.sealing import Seal
from crm_api.changes import ChangeFeed
from crm_api.db import Database
from crm_api.messages.intake import Intake
from crm_api.settings import CrmSettings
from shared.files import FileStore


async def _settings(request: Request) -> CrmSettings:
    settings: CrmSettings = request.app.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _files(request: Request) -> FileStore:
    files: FileStore = request.app.state.files
    return files


async def _intake(request: Request) -> Intake:
    intake: Intake = request.app.state.intake
    return intake


async def _feed(request: Request) -> ChangeFeed:
    feed: ChangeFeed = request.app.state.feed
    return feed


async def _seal(request: Request) -> Seal:
    seal: Seal = request.app.state.seal
    return seal


SettingsDep = Annotated[CrmSettings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
FilesDep = Annotated[FileStore, Depends(_files)]
FeedDep = Annotated[ChangeFeed, Depends(_feed)]
IntakeDep = Annotated[Intake, Depends(_intake)]
SealDep = Annotated[Seal, Depends(_seal)]
