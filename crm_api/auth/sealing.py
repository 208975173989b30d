"""What we must be able to read again, encrypted: second factors in the database, and what a browser carries for us."""

import base64
import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from crm_api.settings import CrmSettings
from shared.settings import SettingsError

KEY_FILE = "secret.key"
_SEALED = "gAAAA"  # how everything begins that Fernet makes; a base32 secret has no small letters


class Seal:
    """keys: the newest first. That one closes; each of them opens."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def _of(self, purpose: str) -> MultiFernet:
        """A key of its own for each purpose (RFC 5869): what was sealed for one does not open for another."""
        derived = (HKDF(SHA256(), 32, salt=None, info=purpose.encode()).derive(key) for key in self._keys)
        return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])

    def close(self, text: str, purpose: str) -> str:
        return self._of(purpose).encrypt(text.encode()).decode()

    def hash(self, text: str, purpose: str) -> str:
        """For what is compared and never read again, and could be guessed: nobody can try it without the newest key."""
        derived = HKDF(SHA256(), 32, salt=None, info=f"hash, {purpose}".encode()).derive(self._keys[0])
        return hmac.new(derived, text.encode(), "sha256").hexdigest()

    def open(self, sealed: str, purpose: str, seconds: int | None = None) -> str | None:
        """None if it is none of ours, was sealed for something else, or longer ago than that."""
        try:
            return self._of(purpose).decrypt(sealed, seconds).decode()
        except (InvalidToken, ValueError):
            return None


def is_sealed(text: str) -> bool:
    return text.startswith(_SEALED)


def seal_of(settings: CrmSettings) -> Seal:
    return Seal(settings.secret_keys or [_kept(settings.data_dir / KEY_FILE)])


def _kept(path: Path) -> str:
    """The key that this file holds; it is made by whoever asks first, and all at once."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
            made.touch(0o600)
            made.write_text(secrets.token_urlsafe(32))
            try:
                os.link(made, path)  # fails where there is one already: another process was faster
            except FileExistsError:
                pass
            finally:
                made.unlink()
        key = path.read_text().strip()
    except OSError as problem:
        raise SettingsError(f"POSTHASTE_SECRET_KEY: give one, for none can be kept here: {problem}") from None
    if not key:
        raise SettingsError(f"POSTHASTE_SECRET_KEY: {path} is empty.")
    return key
