"""OpenID providers for tests: a real one of somebody else's in a process of its own, and one that lies."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from local import leash
from tests.support.people import EMAIL
from tests.support.ports import free_port
from tests.support.waiting import wait_until

CLIENT_ID, CLIENT_SECRET = "posthaste", "pX7-between-us-two-9f31c0"
PASSWORD = "elm street 12"
PEOPLE = {
    "ida": {"email": EMAIL.capitalize(), "name": "Ida Holt", "verified": True},
    "tom": {"email": "tom@elm-street.example", "name": "Tom  Ek", "verified": True},
    "eve": {"email": EMAIL, "name": "Eve", "verified": False},
}


class OpenIdSite:
    """Elm Street ID: django-oauth-toolkit. It may be stopped and started again."""

    def __init__(self, folder: Path, redirect_uri: str) -> None:
        self.folder = folder
        self._port = free_port()
        self.redirect_port = urlsplit(redirect_uri).port
        self.issuer = f"http://127.0.0.1:{self._port}/o"
        site = {
            "port": self._port,
            "redirect_uri": redirect_uri,
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "password": PASSWORD,
            "people": PEOPLE,
        }
        (folder / "site.json").write_text(json.dumps(site))
        self.new_key()
        self.start()

    def new_key(self) -> None:
        """It signs from the next start on."""
        number = len(list(self.folder.glob("key-*.pem")))
        (self.folder / f"key-{number}.pem").write_bytes(RSAKey.generate_key(2048).as_pem(private=True))

    def start(self) -> None:
        program = Path(__file__).with_name("openid_site.py")
        with (self.folder / "log").open("ab") as log:
            self._process = leash.start([sys.executable, str(program), str(self.folder)], stdout=log, stderr=log)
        wait_until(self._answers, f"the provider answers; its log is in {self.folder}", seconds=60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()
        try:
            return httpx2.get(f"{self.issuer}/.well-known/openid-configuration").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(30)


def sign_in_there(url: str, name: str, back: str, password: str = PASSWORD) -> str:
    """As a browser: follows links, fills in the forms, and says where it was sent back to."""
    with httpx2.Client(timeout=30) as browser:
        answer = browser.get(url)
        for _ in range(10):
            if answer.has_redirect_location:
                url = urljoin(str(answer.request.url), answer.headers["Location"])
                if url.startswith(back):
                    return url
                answer = browser.get(url)
            else:
                assert answer.status_code == 200, answer.text
                form = dict(_fields(answer.text)) | {"username": name, "password": password, "allow": "Authorize"}
                here = str(answer.request.url)
                answer = browser.post(here, data=form, headers={"Referer": here})
    raise AssertionError(f"{name} was not sent back: {answer.text}")


def _fields(html: str) -> list[tuple[str, str]]:
    inputs = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<input[^>]*>", html)]
    return [(each["name"], unescape(each.get("value", ""))) for each in inputs if "name" in each]


class Liar:
    """A provider in a thread whose tokens are as the test wants them.

    claims: put over the right ones; None takes one away. header: the same. make: instead of signing. metadata, keys,
    token: what it answers there. held: requests wait until it is set.
    """

    def __init__(self, secret: str = CLIENT_SECRET) -> None:
        self.secret = secret
        self.key: RSAKey | ECKey = RSAKey.generate_key(2048, {"kid": "one"})
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.token: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.make: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
        self.answer: Callable[[str], tuple[int, dict[str, str], bytes] | None] = lambda path: None
        self.held = threading.Event()
        self.held.set()
        self.asked: list[str] = []
        self._nonce = self._challenge = ""
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(liar._documents())

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self._say({"/token": lambda: liar._exchange(form, self.headers.get("Authorization", ""))})

            def _say(self, documents: dict[str, Callable[[], Any]]) -> None:
                path = urlsplit(self.path).path
                liar.asked.append(path)
                liar.held.wait(60)
                status, headers, body = liar.answer(path) or (200, {}, json.dumps(documents[path]()).encode())
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *words: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # who was asked too slowly has gone

        self._server = Server(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.server_close()

    def sign_in_there(self, url: str) -> dict[str, str]:
        """What it sends the browser back with."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        self._nonce, self._challenge = asked["nonce"], asked["code_challenge"]
        return {"code": "any", "state": asked["state"]}

    def __enter__(self) -> Liar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _documents(self) -> dict[str, Callable[[], Any]]:
        return {
            "/.well-known/openid-configuration": lambda: (
                {
                    "issuer": self.issuer,
                    "authorization_endpoint": f"{self.issuer}/authorize",
                    "token_endpoint": f"{self.issuer}/token",
                    "jwks_uri": f"{self.issuer}/keys",
                    "userinfo_endpoint": f"{self.issuer}/userinfo",
                    "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
                }
                | self.metadata
            ),
            "/keys": lambda: KeySet([self.key]).as_dict(),
            "/userinfo": lambda: self.userinfo,
        }

    def _exchange(self, form: dict[str, list[str]], authorization: str) -> dict[str, Any]:
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"][0].encode()).digest()).decode()
        assert challenge.rstrip("=") == self._challenge
        assert base64.b64decode(authorization.removeprefix("Basic ")).decode() == f"{CLIENT_ID}:{self.secret}"
        at = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "2718",
            "iat": at,
            "exp": at + 300,
            "nonce": self._nonce,
            "email": EMAIL,
            "email_verified": True,
            "name": "Ida",
        } | self.claims
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256" if isinstance(self.key, RSAKey) else "ES256", "kid": self.key.kid} | self.header
        header = {name: value for name, value in header.items() if value is not None}
        made = self.make(header, claims) if self.make else jwt.encode(header, claims, self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": made} | self.token
