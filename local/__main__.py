"""python -m local run [--with-parent]: everything on this machine, until Ctrl-C."""

from __future__ import annotations

import sys

from local.run import run


def main() -> int:
    words = sys.argv[1:]
    if words[:1] != ["run"] or set(words[1:]) - {"--with-parent"}:
        print("usage: python -m local run [--with-parent]", file=sys.stderr)
        return 2
    return run(with_parent="--with-parent" in words)


if __name__ == "__main__":
    sys.exit(main())
