"""What goes to the OpenID provider with a browser, and who comes back from there."""

from dataclasses import dataclass

BACK = "/sign-in/openid/back"


@dataclass(frozen=True, slots=True)
class Trip:
    """What a browser takes along. state: that it is the same one; nonce: that the token was made for it; verifier:
    that whoever exchanges the code is who asked for it (RFC 7636). next: where they wanted to go."""

    state: str
    nonce: str
    verifier: str
    next: str


@dataclass(frozen=True, slots=True)
class Person:
    """email: as the provider writes it; verified: whether it says that it is theirs."""

    issuer: str
    subject: str
    email: str
    verified: bool
    name: str
