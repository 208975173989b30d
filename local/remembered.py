"""What the next start needs to know again: ports, names and generated secrets, in one private file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local import ports
from local.errors import LocalError


class Remembered:
    """A small JSON file, readable by its owner only, written whole at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, Any] = {}
        if path.exists():
            try:
                self._values = json.loads(path.read_text())
            except ValueError as error:
                raise LocalError(f"{path} is damaged ({error}); repair it or delete it") from error

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """The remembered value, or a new one that is remembered from now on."""
        if name not in self._values:
            self.put(name, make())
        return self._values[name]

    def put(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(self._values, file, indent=2)
            file.write("\n")
        temporary.replace(self.path)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def secret(self, name: str) -> str:
        """A random secret, without characters that a URL or a shell would read differently."""
        return str(self.get(name, lambda: secrets.token_urlsafe(18)))

    def port(self, name: str) -> int:
        """The same port as last time if it is free, else another."""
        port = int(self.get(name, ports.free_port))
        if not ports.is_free(port):
            port = ports.free_port()
            self.put(name, port)
        return port
