"""Codes of an authenticator app (TOTP, RFC 6238), and recovery codes for the day when the telephone is gone.

The secret that codes are made from lies sealed in the database: who reads only that can make none.
"""

import logging
import secrets
from typing import Literal

import pyotp
import segno
from markupsafe import Markup
from pyotp.exceptions import OTPVerificationError
from sqlalchemy import func
from sqlmodel import Session, col, delete, select, update

from crm_api.auth.hashing import hash_of
from crm_api.auth.models import RecoveryCode, User
from crm_api.auth.sealing import Seal, is_sealed

log = logging.getLogger(__name__)

ISSUER = "Posthaste"
CODES = 10
STEPS_OFF = 1  # a clock may be half a minute off, either way
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # 32 of them, none easily taken for another
_DIGITS = 6


def new_secret() -> str:
    """Base32, 160 random bits."""
    return pyotp.random_base32()


def keep(seal: Seal, user: User, secret: str) -> None:
    user.totp_secret = seal.close(secret, _purpose(user))


def kept(seal: Seal, user: User) -> str | None:
    """None if there is none, or if it was sealed with a key that is no longer there."""
    if user.totp_secret is None or not is_sealed(user.totp_secret):
        return user.totp_secret
    secret = seal.open(user.totp_secret, _purpose(user))
    if secret is None:
        log.error("the second factor of %s was sealed with another SECRET_KEY: its codes do not fit", user.email)
    return secret


def seal_all(session: Session, seal: Seal) -> int:
    """Those that an earlier version left as they were; how many."""
    plain = [
        user
        for user in session.exec(select(User).where(col(User.totp_secret).is_not(None)).with_for_update())
        if user.totp_secret and not is_sealed(user.totp_secret)
    ]
    for user in plain:
        keep(seal, user, str(user.totp_secret))
    return len(plain)


def _purpose(user: User) -> str:
    """Each user's own, so that one's secret put into another's row opens nothing."""
    return f"second factor of {user.id}"


def uri(user: User, secret: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=user.email, issuer_name=ISSUER)


def qr_code(text: str) -> Markup:
    """As SVG, dark on light: what a camera reads in a dark theme, too."""
    drawn = segno.make(text, error="m").svg_inline(omitsize=True, border=3, dark="#000", light="#fff")
    return Markup(drawn)  # noqa: S704 (made here, of squares only)


def step_of(secret: str, code: str) -> int | None:
    """The time step that this code belongs to; None if it is wrong."""
    code = "".join(code.split())
    if len(code) != _DIGITS or not (code.isascii() and code.isdigit()):
        return None
    try:
        return pyotp.TOTP(secret).verify_and_get_timecode(code, valid_window=STEPS_OFF)
    except OTPVerificationError:
        return None


def check(session: Session, seal: Seal, user: User, code: str) -> Literal["code", "recovery"] | None:
    """Whether it opens, and it does so only once."""
    secret = kept(seal, user)
    if secret and (step := step_of(secret, code)) is not None:
        newer = update(User).where(col(User.id) == user.id, col(User.totp_step) < step).values(totp_step=step)
        return "code" if session.connection().execute(newer).rowcount else None
    gone = delete(RecoveryCode).where(
        col(RecoveryCode.user_id) == user.id, col(RecoveryCode.code_hash) == hash_of(_plain(code))
    )
    return "recovery" if session.connection().execute(gone).rowcount else None


def make_codes(session: Session, user: User) -> list[str]:
    """New ones, to be shown once; the earlier ones end."""
    session.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user.id))
    codes = ["-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4)) for _ in range(CODES)]
    session.add_all(RecoveryCode(code_hash=hash_of(_plain(code)), user_id=user.id) for code in codes)
    return codes


def codes_left(session: Session, user: User) -> int:
    return session.exec(select(func.count()).select_from(RecoveryCode).where(RecoveryCode.user_id == user.id)).one()


def turn_off(session: Session, user: User) -> None:
    user.totp_secret = user.totp_since = None
    session.execute(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user.id))


def _plain(code: str) -> str:
    return "".join(letter for letter in code.lower() if letter.isalnum())
