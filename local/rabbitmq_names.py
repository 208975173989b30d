"""Gives quorum queues back to a node that died within a second of declaring them.

RabbitMQ (seen on 3.10.8 and 4.0.5) keeps each quorum queue in a folder of its own, ``quorum/<node>/<uid>/``,
and which queue has which folder in ``names.dets``. An entry is written there about a second after the queue
is declared, or when the next one is. A node that is killed in between does not know the queue's folder when
it comes back: it makes a new, empty one and never elects a leader for it. Electing one by hand
(``ra:trigger_election``) makes the queue usable and confirmed messages are gone for good: they are in the old
folder, which nobody reads any more.

So the missing entries are added before the node starts: each folder's ``config`` says whose it is. The node
then finds everything, its write-ahead log included. See docs/topology.md, "A queue without a leader".
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local.errors import LocalError

# An entry is missing because it was not written yet only if the folder is younger than the last write of
# names.dets. Otherwise the queue was deleted. The config is written just before its entry, hence the seconds.
_MARGIN_NS = 2_000_000_000

# The newest folder comes first: it is the one, should a name have several. A config that cannot be read was
# being written when the node died; nobody has been told yet that this queue exists.
_ADD = """\
[Names | Configs] = init:get_plain_arguments(),
{ok, Table} = dets:open_file(names, [{file, Names}]),
lists:foreach(fun(Config) ->
    case file:consult(Config) of
        {ok, [#{id := {Name, _}, uid := UId}]} ->
            case dets:lookup(Table, Name) of
                [] -> ok = dets:insert(Table, {Name, UId}), io:format("added ~ts~n", [Name]);
                _ -> ok
            end;
        _ -> ok
    end
end, Configs),
ok = dets:close(Table),
halt(0).
"""
_ADDED = "added "


def missing(data: Path) -> dict[Path, list[Path]]:
    """``names.dets`` → the configs it lacks, newest first. ``data`` is the folder of a node that does not run."""
    found: dict[Path, list[Path]] = {}
    # Docker's image has one folder more, mnesia/.
    for names in [*data.glob("*/quorum/*/names.dets"), *data.glob("*/*/quorum/*/names.dets")]:
        known, written = names.read_bytes(), names.stat().st_mtime_ns
        configs = {
            config: config.stat().st_mtime_ns
            for config in names.parent.glob("*/config")
            if os.fsencode(config.parent.name) not in known
        }
        late = [config for config, time in configs.items() if time >= written - _MARGIN_NS]
        if late:
            found[names] = sorted(late, key=lambda config: -configs[config])
    return found


def add_missing(
    data: Path,
    erl: Sequence[str | os.PathLike[str]],
    environment: Mapping[str, str],
    *,
    data_as_erl_sees_it: Path | None = None,
) -> list[str]:
    """Add what is missing; costs half a second, and nothing where nothing is. Returns the queues' Ra names.

    ``erl`` is the command that starts Erlang. Raises ``LocalError``: starting the node regardless would lose
    messages.
    """
    added: list[str] = []
    for names, configs in missing(data).items():
        paths = [(data_as_erl_sees_it or data) / path.relative_to(data) for path in (names, *configs)]
        try:
            done = subprocess.run(
                [*erl, "-noinput", "+fnu", "-boot", "no_dot_erlang", "-eval", _ADD, "-extra", *map(str, paths)],
                env={**environment, "ERL_CRASH_DUMP_BYTES": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60.0,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "output", None) or b""
            raise LocalError(f"{names} lacks queues: {error}. {output.decode(errors='replace')}".strip()) from error
        # Erlang also says that it repairs the file.
        lines = done.stdout.decode(errors="replace").splitlines()
        added += [line.removeprefix(_ADDED) for line in lines if line.startswith(_ADDED)]
    return added
