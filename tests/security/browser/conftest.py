"""The same house and browser as the pages' own tests have."""

from tests.browser.conftest import _lived_in, _signed_in, browser, crm, scenes, visitor

__all__ = ["_lived_in", "_signed_in", "browser", "crm", "scenes", "visitor"]
