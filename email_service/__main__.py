"""python -m email_service: the mail room. `worker N` runs one of its workers alone."""

import argparse
import asyncio

import uvloop

from email_service.ledger_store import LedgerError
from email_service.settings import MailRoomSettings
from email_service.supervisor import Supervisor
from email_service.worker import run as work
from shared.command import run
from shared.private import keep_private
from shared.setting_names import warn_of_unknown
from shared.settings import load, refuse_weak
from shared.telemetry import set_up_logging


async def _supervise(settings: MailRoomSettings) -> None:
    await Supervisor(settings).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m email_service", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    worker = commands.add_parser("worker", help="one worker, without a supervisor")
    worker.add_argument("number", type=int)
    worker.add_argument("--owner", help="given by the supervisor: its name in the ledger")
    arguments = parser.parse_args()
    settings = load(MailRoomSettings)
    refuse_weak(settings, "amqp_url", "ledger_url", "smtp_url")
    set_up_logging(settings)
    supervised = arguments.command == "worker" and arguments.owner
    if not supervised:  # else the supervisor has done it
        warn_of_unknown()
        keep_private(settings, settings.ledger_file)
    try:
        if arguments.command == "worker":
            uvloop.run(work(settings, arguments.number, arguments.owner, watch_parent=bool(supervised)))
        else:
            asyncio.run(_supervise(settings))
    except (LedgerError, ValueError) as problem:
        raise SystemExit(str(problem)) from None


if __name__ == "__main__":
    run(main)
