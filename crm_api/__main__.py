"""python -m crm_api web | dispatch | sandbox | migrate | broker | databases | roles | sign-in-link … | …"""

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from crm_api.settings import CrmSettings
from shared.command import run
from shared.ending import end_within
from shared.private import keep_private
from shared.setting_names import warn_of_unknown
from shared.settings import load, refuse_weak
from shared.telemetry import set_up_logging

STOP_SECONDS = 15  # of web, whose requests have five of them


def keep_out_of_garbage_collection() -> None:
    """What is there at the start stays; to look through it all, again and again, holds requests up for 60 ms."""
    gc.collect()
    gc.freeze()


def web(settings: CrmSettings) -> None:
    import uvicorn

    from crm_api.app import create_app
    from crm_api.web.connections import Connections
    from crm_api.web.server import BoundedProtocol, room_for
    from shared.tasks import deaths

    app = create_app(settings)
    keep_out_of_garbage_collection()

    class Server(uvicorn.Server):
        lost = ""

        async def startup(self, *arguments: Any, **named: Any) -> None:
            deaths().on_first(self._lose)
            await super().startup(*arguments, **named)

        def _lose(self, part: str) -> None:
            end_within(STOP_SECONDS)
            self.lost, self.should_exit = part, True

        def handle_exit(self, *arguments: Any) -> None:
            end_within(STOP_SECONDS)
            super().handle_exit(*arguments)

        async def shutdown(self, *arguments: Any, **named: Any) -> None:
            await app.state.feed.close()  # ends the streams of open pages, which would hold it up
            await super().shutdown(*arguments, **named)

    held = Connections(room_for(settings.max_connections), settings.strangers_per_address, settings.proxies)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=partial(BoundedProtocol, connections_open=held, seconds=settings.request_seconds),  # type: ignore[arg-type]
        ws="none",
        proxy_headers=False,  # its own way believes everybody on this machine; see crm_api/web/proxies.py
        timeout_graceful_shutdown=5,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal once more when it has stopped in good order; that is no failure
        signal.signal(number, lambda *_: None)
    server = Server(config)
    server.run()
    if server.lost:
        sys.exit(f"Web ended because it had lost a part: {server.lost}")


def dispatch(settings: CrmSettings) -> None:
    import uvloop

    from crm_api.dispatch import run as dispatching

    uvloop.run(dispatching(settings))


def sandbox(settings: CrmSettings) -> None:
    from crm_api.sandbox.smtp import run as taking_mail

    asyncio.run(taking_mail(settings))


def migrate(settings: CrmSettings) -> None:
    from crm_api.first_start import migrate_and_fill

    migrate_and_fill(settings)


def roles(_: CrmSettings) -> None:
    from crm_api.auth.roles_table import as_markdown

    print(as_markdown(), end="")


def sign_in_link(settings: CrmSettings, email: str) -> None:
    from crm_api.auth.command import sign_in_link

    print(sign_in_link(settings, email), flush=True)


def second_factor_off(settings: CrmSettings, email: str) -> None:
    from crm_api.auth.command import second_factor_off

    print(second_factor_off(settings, email), flush=True)


def broker() -> None:
    from crm_api.broker import BrokerSettings, set_up

    settings = load(BrokerSettings)
    refuse_weak(settings, "broker_admin_url", "dispatch_password", "mailroom_password", "console_password")
    set_up_logging(settings)
    warn_of_unknown()
    set_up(settings)


def databases() -> None:
    from crm_api.databases import DatabasesSettings, set_up

    settings = load(DatabasesSettings)
    refuse_weak(settings, "database_admin_url", "crm_database_password", "mailroom_database_password")
    set_up_logging(settings)
    warn_of_unknown()
    set_up(settings)


# what each of them uses of secrets
SECRETS = {
    "web": ["database_url", "secret_key", "openid_issuer", "openid_client_secret"],
    "dispatch": ["database_url", "amqp_url", "secret_key"],
    "sandbox": [],
    "migrate": ["database_url", "admin_password", "api_key", "secret_key"],
    "roles": [],
    "sign-in-link": ["database_url"],
    "second-factor-off": ["database_url"],
}
PRINTS = {"roles"}  # touches no file
COMMANDS: dict[str, Callable[[CrmSettings], None]] = {
    "web": web,
    "dispatch": dispatch,
    "sandbox": sandbox,
    "migrate": migrate,
    "roles": roles,
}
# they have settings of their own, and passwords that the others must not have
COMMANDS_ALONE: dict[str, Callable[[], None]] = {"broker": broker, "databases": databases}
COMMANDS_FOR: dict[str, Callable[[CrmSettings, str], None]] = {
    "sign-in-link": sign_in_link,
    "second-factor-off": second_factor_off,
}


def main() -> None:
    match sys.argv[1:]:
        case [name] if alone := COMMANDS_ALONE.get(name):
            alone()
        case [name] if command := COMMANDS.get(name):
            command(_ready(name))
        case [name, email] if command_for := COMMANDS_FOR.get(name):
            command_for(_ready(name), email)
        case _:
            ways = [*COMMANDS, *COMMANDS_ALONE, *(f"{name} EMAIL" for name in COMMANDS_FOR)]
            sys.exit(f"usage: python -m crm_api {' | '.join(ways)}")


def _ready(name: str) -> CrmSettings:
    settings = load(CrmSettings)
    refuse_weak(settings, *SECRETS[name])
    set_up_logging(settings)
    warn_of_unknown()
    if name not in PRINTS:
        keep_private(settings, settings.database_file)
    return settings


if __name__ == "__main__":
    run(main)
