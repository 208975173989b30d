"""What is guessed first is no secret, in whatever way it is written; what nobody would put together is one."""

import pytest

from crm_api.auth.passwords import check_new_password, make_up_password
from crm_api.errors import Invalid
from shared.hardening import KEY, PERSON, weakness
from shared.well_known import is_well_known

KNOWN = [
    *("changeme-changeme", "CHANGE_ME_PLEASE", "please-change-me-in-production", "replace_this_secret_key_now"),
    *("P@ssw0rd12345678", "passw0rd-passw0rd", "Password123456789", "PasswordPassword", "password password"),
    *("secretsecretsecret", "super-secret-token", "your-secret-key-here", "this is my secret key", "keyboard cat cat"),
    *("12345678901234567890", "0123456789012345", "98765432109876543210", "abcdefghijklmnopqrst", "qwertyuiopasdfgh"),
    *("1qaz2wsx3edc4rfv", "q1w2e3r4t5y6u7i8", "zxcvbnm,asdfghjkl", "posthaste:posthaste", "guest:guest:guest"),
    *(
        "rabbitmq-password-2026",
        "postgres-postgres-1",
        "admin-admin-admin-admin",
        "sunshine12345678",
        "Dragon.Dragon.1234",
    ),
    *(
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
        "****************",
    ),
    *("P4$$w0rd!!!!2026", "pass\u00adword\u200b12345678", "p a s s w o r d", "zaq12wsxcde34rfv", "trustno1trustno1"),
]
GOOD = [
    *("f3a9c17be2d84056a1b2c3d4", "Kq9vN2xR7mLw4TzB8sYd", "0193a0e17d3c7000a4b1c2d3e4f50617"),
    *("seeds and trees", "plums and apples and pears", "correct horse battery staple", "vier Äpfel im Korbwagen"),
    *("48213095772108463950", "trois-petits-cochons-verts"),
]


@pytest.mark.parametrize("secret", KNOWN)
def test_what_everybody_knows(secret: str) -> None:
    assert is_well_known(secret)
    for least in (PERSON, KEY):
        assert weakness(secret, "crm", least) is not None
    with pytest.raises(Invalid):
        check_new_password(secret, "ida@holt-trees.example")


@pytest.mark.parametrize("secret", GOOD)
def test_what_nobody_would_guess(secret: str) -> None:
    assert not is_well_known(secret)
    assert weakness(secret, "crm", PERSON) is None
    check_new_password(secret, "ida@holt-trees.example", name="Ida Holt")


def test_made_up_ones_are_good() -> None:
    for _ in range(200):
        made = make_up_password()
        assert not is_well_known(made, ["ida@holt-trees.example"])
        check_new_password(made, "ida@holt-trees.example")


@pytest.mark.parametrize(
    "password",
    [
        *("ida@holt-trees.example", "IdaIdaIdaIda", "ida.holt.2026.2026", "holttrees2024", "Holt-Trees-1234"),
        *("lindqvistlindqvist", "Marta Lindqvist 1", "MartaMartaMarta", "posthaste marta 1", "idaholtpassword1"),
    ],
)
def test_words_of_its_owner(password: str) -> None:
    with pytest.raises(Invalid):
        check_new_password(password, "ida@holt-trees.example", name="Marta Lindqvist")


@pytest.mark.parametrize(
    "secret", ["idaidaidaidaidaida", "abc1abc1abc1abc1", "x7x7x7x7x7x7x7x7", "            . .     "]
)
def test_what_repeats_itself(secret: str) -> None:
    assert weakness(secret, "crm", PERSON) is not None


def test_a_long_one_takes_no_time() -> None:
    """Work is bounded by what is looked at, not by what is sent."""
    assert is_well_known("password" * 10_000)
    assert not is_well_known("xylophon quarz " * 10_000)
