"""How every process of the product begins and, if a setting is wrong, ends."""

import os
import sys
from collections.abc import Callable

from shared.settings import SettingsError

WRONG_SETTINGS = 2  # exit code: to start it again changes nothing


def run(main: Callable[[], None]) -> None:
    """What it writes is its user's alone; a wrong setting ends it with its sentences and WRONG_SETTINGS."""
    os.umask(0o077)
    try:
        main()
    except SettingsError as problem:
        print(problem, file=sys.stderr, flush=True)
        sys.exit(WRONG_SETTINGS)
