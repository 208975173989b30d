"""Free ports for tests."""

from local.ports import free_port

__all__ = ["free_port"]
