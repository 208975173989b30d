"""A spoofed X-Forwarded-For passes no throttle; what a trusted proxy says is believed."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import ValidationError

from crm_api.app import create_app
from crm_api.auth.throttle import ADDRESS, PAIR
from crm_api.settings import CrmSettings
from crm_api.web.proxies import MOST_HOPS, TrustedProxies, read_networks
from tests.support.databases import Template
from tests.support.people import EMAIL, PASSWORD
from tests.support.stack import Stack, stack

PROXIES = "10.0.0.0/8, 2001:db8:1::/48"


def seen_by_the_app(peer: str, *forwarded: str, proto: str = "", proxies: str = PROXIES) -> tuple[str, str]:
    """(client address, scheme) as a handler finds them."""
    app = FastAPI()
    app.add_middleware(TrustedProxies, networks=read_networks(proxies))

    @app.get("/")
    def look(request: Request) -> list[str]:
        return [request.client.host if request.client else "", request.url.scheme]

    headers = [("X-Forwarded-For", each) for each in forwarded] + [("X-Forwarded-Proto", proto)] * bool(proto)
    host, scheme = TestClient(app, client=(peer, 40_000)).get("/", headers=headers).json()
    return host, scheme


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.9"], "127.0.0.1"),
        ("::1", ["203.0.113.9"], "::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8:1::5", ["[2001:db8:2::9]:5000"], "2001:db8:2::9"),
        ("10.0.0.1", ["203.0.113.9:5000"], "203.0.113.9"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        # what the client wrote itself stands before what the proxy added
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.9, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["1.1.1.1, <script>"], "10.0.0.1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9" + ", 10.0.0.2" * MOST_HOPS], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [" , ,"], "10.0.0.1"),
        ("testclient", ["203.0.113.9"], "testclient"),
    ],
)
def test_whose_address_counts(peer: str, forwarded: list[str], address: str) -> None:
    assert seen_by_the_app(peer, *forwarded)[0] == address


@pytest.mark.parametrize(
    ("peer", "said", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, HTTPS", "https"),
        ("10.0.0.1", "https, http", "http"),
        ("10.0.0.1", "javascript", "http"),
        ("127.0.0.1", "https", "http"),
        ("198.51.100.7", "https", "http"),
    ],
)
def test_whether_it_came_by_https(peer: str, said: str, scheme: str) -> None:
    assert seen_by_the_app(peer, proto=said)[1] == scheme


def test_nobody_is_trusted_unless_named() -> None:
    assert seen_by_the_app("127.0.0.1", "203.0.113.9", proto="https", proxies="") == ("127.0.0.1", "http")


@pytest.mark.parametrize("wrong", ["everybody", "*", "10.0.0.1/8", "10.0.0.0/40"])
def test_what_is_no_network_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        CrmSettings(trusted_proxies=wrong)


def tries(browser: httpx2.Client | TestClient, count: int, address: str, email: str = EMAIL) -> list[int]:
    """Wrong passwords, each time said to come from another address."""
    return [
        browser.post(
            "/sign-in",
            data={"email": email.replace("#", str(number)), "password": "guess"},
            headers={"X-Forwarded-For": address.replace("#", str(number)), "Forwarded": f"for=203.0.113.{number}"},
        ).status_code
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, database_template: Template) -> Iterator[Stack]:
    """web in a process of its own, as it is started; an AMQP URL is of no use to it."""
    data_dir = tmp_path_factory.mktemp("house")
    url = database_template.copy_sqlite(data_dir / "posthaste.sqlite")
    with stack(data_dir, url, "amqp://nobody:nothing@127.0.0.1:1/", trusted_proxies="") as made:
        made.start("web")
        yield made


def test_the_real_server_believes_nobody_on_its_own_machine(house: Stack) -> None:
    with httpx2.Client(base_url=house.url) as browser:
        assert tries(browser, PAIR + 2, "203.0.113.#", "admin@posthaste.example") == [401] * PAIR + [429] * 2


def test_behind_a_trusted_proxy_each_client_has_tries_of_its_own(
    user: object, database_url: str, tmp_path: Path
) -> None:
    settings = CrmSettings(data_dir=tmp_path, database_url=database_url, trusted_proxies="10.0.0.0/8")
    with TestClient(create_app(settings), client=("10.0.0.1", 40_000), follow_redirects=False) as browser:
        assert tries(browser, PAIR + 1, "203.0.113.5") == [401] * PAIR + [429]
        assert tries(browser, PAIR + 1, "1.1.1.#, 203.0.113.6") == [401] * PAIR + [429]
        assert tries(browser, PAIR + 1, "2001:db8:2::#") == [401] * PAIR + [429], "one line has all of a /64"
        assert tries(browser, 1, "2001:db8:3::1") == [401]
        right = {"email": EMAIL, "password": PASSWORD}
        answer = browser.post("/sign-in", data=right, headers={"X-Forwarded-For": "203.0.113.7"})
        assert answer.status_code == 303


def test_one_address_has_so_many_tries_whatever_the_account(visitor: TestClient) -> None:
    assert tries(visitor, ADDRESS + 1, "203.0.113.#", "user#@example.com") == [401] * ADDRESS + [429]
