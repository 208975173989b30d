"""What programs that are not ours are told: nothing of our settings, as some of them are secrets."""

from __future__ import annotations

from collections.abc import Mapping

# no settings: where things are kept, and the tests' mark, by which they find what they have started
_NO_SETTINGS = ("POSTHASTE_CACHE_DIR", "POSTHASTE_TEST_MARK")


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("POSTHASTE_") or name in _NO_SETTINGS
    }
