"""The OpenID provider: the way there, and who it was that came back (authorization code, PKCE with S256)."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.jwk import KeySet

from crm_api.openid.failures import NoEntry
from crm_api.openid.tokens import NotBelieved, person_of, read_claims, read_keys
from crm_api.openid.travel import BACK, Person, Trip
from crm_api.openid.wire import Wire, timeouts
from crm_api.settings import CrmSettings

log = logging.getLogger(__name__)

SCOPE = "openid email profile"
SECONDS = 10  # for all that is asked at one step
FRESH_SECONDS = 3600  # how long what the provider says about itself is believed


class Provider:
    """Asks nothing before somebody wants to come in: it may be down when we start."""

    def __init__(self, settings: CrmSettings) -> None:
        self._settings = settings
        self._issuer = str(settings.openid_issuer)
        self._known: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    async def way_there(self, next_page: str) -> tuple[str, Trip]:
        """Where the browser goes, and what it takes along. Raises NoEntry."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        trip = Trip(state, nonce, verifier, next_page)
        async with self._line() as client:
            url, _ = client.create_authorization_url(
                _https(await self._endpoint(client, "authorization_endpoint"), self._issuer),
                state=trip.state,
                code_verifier=trip.verifier,
                nonce=trip.nonce,
            )
        return str(url), trip

    async def who_came(self, code: str, trip: Trip) -> Person:
        """Raises NoEntry."""
        async with self._line() as client:
            client.token_endpoint_auth_method = await self._proof(client)
            url = await self._endpoint(client, "token_endpoint")
            token = await client.fetch_token(
                url, grant_type="authorization_code", code=code, code_verifier=trip.verifier
            )
            claims = await self._claims(client, token, trip)
            if not claims.get("email"):
                claims = await self._more(client, claims)
            return person_of(claims)

    @asynccontextmanager
    async def _line(self) -> AsyncIterator[Any]:
        """A client; whatever goes wrong with it is NoEntry, and in the log without code, token and secret."""
        settings = self._settings
        secret = settings.openid_client_secret
        try:
            async with (
                asyncio.timeout(SECONDS),
                AsyncOAuth2Client(
                    settings.openid_client_id,
                    secret.get_secret_value() if secret else None,
                    scope=SCOPE,
                    redirect_uri=settings.base_url + BACK,
                    code_challenge_method="S256",
                    transport=Wire(urlsplit(self._issuer).scheme, settings.openid_netlocs),
                    timeout=timeouts(),
                    follow_redirects=False,
                    trust_env=False,  # a proxy from there would take the place of our own transport
                ) as client,
            ):
                yield client
        except OAuthError as problem:
            raise NoEntry("refused", f"the provider says {_word(problem.error)}") from None
        except NotBelieved as problem:
            raise NoEntry("refused", str(problem)) from None
        except TimeoutError:
            raise NoEntry("away", f"no answer within {SECONDS} s") from None
        except httpx2.HTTPStatusError as problem:
            where = problem.request.url.copy_with(query=None)
            raise NoEntry("away", f"{where} answers {problem.response.status_code}") from None
        except httpx2.HTTPError as problem:
            raise NoEntry("away", f"{type(problem).__name__} {problem}") from None
        except (ValueError, TypeError, RecursionError, httpx2.InvalidURL) as problem:  # no JSON, or other than expected
            raise NoEntry("away", f"what it answers cannot be read: {type(problem).__name__}") from None

    async def _endpoint(self, client: Any, name: str) -> str:
        url = (await self._metadata(client)).get(name)
        if not isinstance(url, str):
            raise ValueError(name)
        return url

    async def _metadata(self, client: Any) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0, 4."""
        if self._known is None or time.monotonic() > self._known[0]:
            document = await _get(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if document.get("issuer") != self._issuer:
                raise NotBelieved(
                    f"the provider calls itself {str(document.get('issuer'))[:200]!r}, not as OPENID_ISSUER"
                )
            self._known = time.monotonic() + FRESH_SECONDS, document
        return self._known[1]

    async def _proof(self, client: Any) -> str:
        """How it wants to be shown the client secret; without word of it, in a header (Discovery, 3)."""
        if not client.client_secret:
            return "none"
        ways = (await self._metadata(client)).get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"

    async def _claims(self, client: Any, token: dict[str, Any], trip: Trip) -> dict[str, Any]:
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            raise NotBelieved("there is no ID token")

        def read(keys: KeySet) -> dict[str, Any]:
            access_token = token.get("access_token")
            return read_claims(id_token, keys, self._issuer, client.client_id, trip.nonce, access_token)

        known = self._keys
        if known and time.monotonic() < known[0]:
            try:
                return read(known[1])
            except NotBelieved:  # it may have new keys, and have given this one no other name
                pass
        return read(await self._fetch_keys(client))

    async def _fetch_keys(self, client: Any) -> KeySet:
        keys = read_keys(await _get(client, await self._endpoint(client, "jwks_uri")))
        self._keys = time.monotonic() + FRESH_SECONDS, keys
        return keys

    async def _more(self, client: Any, claims: dict[str, Any]) -> dict[str, Any]:
        """A short ID token leaves the address to the UserInfo endpoint (Core, 5.3.2 and 5.4)."""
        url = (await self._metadata(client)).get("userinfo_endpoint")
        if not isinstance(url, str):
            return claims
        more = await _get(client, url, withhold_token=False)
        if more.get("sub") != claims["sub"]:
            raise NotBelieved("UserInfo is about somebody else")
        # whether it is verified is said of this address, and of no other
        return claims | {name: more.get(name) for name in ("email", "email_verified", "name")}


async def _get(client: Any, url: str, withhold_token: bool = True) -> dict[str, Any]:
    response = await client.request("GET", url, withhold_token=withhold_token)
    response.raise_for_status()
    document = response.json()
    if response.status_code != 200 or not isinstance(document, dict):
        raise ValueError(url)
    return document


def _https(url: str, issuer: str) -> str:
    """Where people write their password is no less safe than where the issuer is."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", urlsplit(issuer).scheme} or not parts.hostname:
        raise ValueError("authorization_endpoint")
    return url


def _word(error: object) -> str:
    """An error code (RFC 6749, 5.2): a word, and not whatever somebody has put there."""
    return "".join(letter for letter in str(error)[:40] if letter.isalnum() or letter == "_") or "nothing"
