"""The same house as the CRM's own tests have."""

from tests.crm_api.conftest import api, app, browser, crm, database, settings, user, visitor

__all__ = ["api", "app", "browser", "crm", "database", "settings", "user", "visitor"]
