"""python -m bench.click.commit: milliseconds of storing one message, in this process and with nothing around it.

Its settings come from the environment, as the product's do.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from bench import rig
from bench.click.load import bodies
from crm_api.auth.principal import Principal
from crm_api.db import Database
from crm_api.messages.planning import hold_back, plan, store
from crm_api.messages.schemas import MessageDraft
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.files import FileStore
from shared.ids import new_id
from shared.settings import load

MESSAGES = 500


def one_commit(product: rig.Product) -> float:
    run = [sys.executable, "-m", "bench.click.commit"]
    done = subprocess.run(
        run, env=product.environment, cwd=rig.ROOT, stdout=subprocess.PIPE, check=True, timeout=60, text=True
    )
    return float(done.stdout)


def main() -> None:
    settings = load(CrmSettings)
    database, files = Database(settings.database), FileStore(settings.files_dir)
    somebody = Principal(new_id(), "Bench", "bench@posthaste.example", "admin", "api", "bench")
    times = []
    for _, body in zip(range(MESSAGES), bodies("drafts"), strict=False):
        with database.read() as session:
            made = plan(session, files, settings, MessageDraft.model_validate(body), somebody, now())
        made.message["author_id"] = None
        begun = time.perf_counter()
        with database.hot() as hot:
            hold_back(hot, [made])
            with hot.transaction():
                store(hot, [made])
        times.append((time.perf_counter() - begun) * 1000)
    database.close()
    print(statistics.median(times))


if __name__ == "__main__":
    main()
