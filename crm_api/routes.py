"""Every page and every operation of the API, in the order in which they are tried.

The apps of a process share them: what FastAPI works out for a route when it is first asked for takes a tenth of a
second for all, and the tests make a thousand apps.
"""

from fastapi import APIRouter, Depends

from crm_api.account.pages import router as account_pages
from crm_api.audit.api import router as audit_api
from crm_api.audit.pages import router as audit_pages
from crm_api.auth.guard import guard
from crm_api.auth.pages import router as auth_router
from crm_api.customers.api import router as customers_api
from crm_api.customers.pages import router as customers_pages
from crm_api.keys.api import router as keys_api
from crm_api.keys.pages import router as keys_pages
from crm_api.limits import MAX_FIELD_BYTES, MAX_FILES, MAX_FORM_FIELDS
from crm_api.messages.api import router as messages_api
from crm_api.messages.pages import router as messages_pages
from crm_api.monitoring.api import router as monitoring_router
from crm_api.openid.pages import router as openid_router
from crm_api.reconciliation.api import router as reconciliation_api
from crm_api.reconciliation.pages import router as reconciliation_pages
from crm_api.sandbox.api import router as sandbox_api
from crm_api.sandbox.pages import router as sandbox_pages
from crm_api.senders.api import router as senders_api
from crm_api.senders.pages import router as senders_pages
from crm_api.users.api import router as users_api
from crm_api.users.pages import router as users_pages
from crm_api.web.openapi import operation_id
from crm_api.web.pages import router as web_router
from crm_api.web.reference import router as reference_router
from crm_api.web.search import router as search_router

router = APIRouter(
    dependencies=[Depends(guard)],
    generate_unique_id_function=operation_id,
    form_limits={"max_files": MAX_FILES, "max_fields": MAX_FORM_FIELDS, "max_part_size": MAX_FIELD_BYTES},
)
router.include_router(messages_api)  # first, as most requests are clicks of programs
router.include_router(auth_router)
router.include_router(openid_router)
router.include_router(customers_api)
router.include_router(customers_pages)
router.include_router(messages_pages)
router.include_router(monitoring_router)
router.include_router(reconciliation_api)
router.include_router(reconciliation_pages)
router.include_router(sandbox_api)
router.include_router(sandbox_pages)
router.include_router(users_api)
router.include_router(users_pages)
router.include_router(keys_api)
router.include_router(keys_pages)
router.include_router(senders_api)
router.include_router(senders_pages)
router.include_router(account_pages)
router.include_router(audit_api)
router.include_router(audit_pages)
router.include_router(reference_router)
router.include_router(search_router)
router.include_router(web_router)
