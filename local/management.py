"""RabbitMQ's management API, with the standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

# The console is on the loopback interface: never by way of a proxy from the environment.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Management:
    """One broker's management API. ``url`` is its root, like ``http://127.0.0.1:15672``."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}

    def call(self, method: str, *path: str, body: Any = None, timeout: float = 10.0) -> Any:
        """Call ``/api/…`` with each part of the path quoted.

        Returns the decoded JSON or None. Raises ``urllib.error.HTTPError`` for 4xx and 5xx,
        ``OSError`` when nobody answers.
        """
        quoted = "/".join(urllib.parse.quote(part, safe="") for part in path)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{quoted}", data, self._headers, method=method)
        with _opener.open(request, timeout=timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def get(self, *path: str) -> Any:
        return self.call("GET", *path)

    def put(self, *path: str, body: Any = None) -> Any:
        return self.call("PUT", *path, body={} if body is None else body)

    def post(self, *path: str, body: Any = None) -> Any:
        return self.call("POST", *path, body={} if body is None else body)

    def delete(self, *path: str) -> Any:
        return self.call("DELETE", *path)

    def answers(self) -> bool:
        """Whether the API is up and lets us in."""
        try:
            self.call("GET", "overview", timeout=3.0)
        except (OSError, ValueError, http.client.HTTPException):  # no answer, half of one, or 500 while it boots
            return False
        return True

    def create_vhost(self, name: str, user: str) -> None:
        self.put("vhosts", name)
        self.put("permissions", name, user, body={"configure": ".*", "write": ".*", "read": ".*"})

    def delete_vhost(self, name: str) -> None:
        self.delete("vhosts", name)
