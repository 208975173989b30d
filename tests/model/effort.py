"""How long Hypothesis looks."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

LONG = settings.get_current_profile_name() == "long"


def effort(examples: int, **more: Any) -> settings:
    """The same examples every time, so that what is green stays green until the product changes; with
    --hypothesis-profile=long very many, and others each time."""
    usual = {"deadline": None, "suppress_health_check": list(HealthCheck), "stateful_step_count": 40} | more
    if LONG:
        return settings(**usual | {"max_examples": 100 * examples, "stateful_step_count": 80})
    return settings(**usual | {"max_examples": examples, "derandomize": True, "database": None})
