"""Hashes of what is random anyway: session tokens, keys, links, codes. Passwords have their own (passwords.py)."""

import hashlib


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
