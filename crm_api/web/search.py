"""/search: customers, messages and addresses, the best few of each."""

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlmodel import Session

from crm_api.auth.deps import SignedIn
from crm_api.customers.models import Customer
from crm_api.customers.service import list_page as find_customers
from crm_api.deps import DatabaseDep
from crm_api.messages import service as messages
from crm_api.messages.views import Row, list_rows
from crm_api.web.templates import render

router = APIRouter(include_in_schema=False)

EACH = 8
_AN_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


@router.get("/search")
def search(
    request: Request, _: SignedIn, database: DatabaseDep, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    q = q.strip()
    people: list[Customer] = []
    rows: list[Row] = []
    more_people = more_rows = False
    if q:
        with database.read() as session:
            people, more_people = _customers(session, q)
            found, following = messages.list_page(session, query=q, limit=EACH)
            rows, more_rows = list_rows(session, found), following is not None
    return render(
        request,
        "search.html",
        q=q,
        people=people,
        more_people=more_people,
        rows=rows,
        more_rows=more_rows,
        is_address=bool(_AN_ADDRESS.fullmatch(q)),
    )


def _customers(session: Session, q: str) -> tuple[list[Customer], bool]:
    found, following = find_customers(session, query=q, limit=EACH)
    return list(found), following is not None
