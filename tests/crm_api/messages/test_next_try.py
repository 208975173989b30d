"""When a delivery is tried again is said while it lies ahead; a moment that has passed is no promise."""

from __future__ import annotations

from datetime import timedelta
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update
from sqlmodel import col

from crm_api.messages.models import Delivery
from crm_api.messages.states import State
from shared.clock import now
from tests.support.crm import Crm


@pytest.mark.parametrize("state", [State.deferred, State.unknown])
@pytest.mark.parametrize(("ahead", "said"), [(timedelta(minutes=4), True), (timedelta(minutes=-4), False)])
def test_the_next_try_is_said_while_it_lies_ahead(
    browser: TestClient, crm: Crm, state: State, ahead: timedelta, said: bool
) -> None:
    customer = crm.customer()
    message = crm.send(to=[{"customer_id": str(customer.id)}])
    with crm.database.write() as session:
        session.execute(
            update(Delivery)
            .where(col(Delivery.message_id) == message.id)
            .values(state=state, next_at=now() + ahead, due_at=now() - timedelta(minutes=9), code=450, reason="Full.")
        )
    for path in (f"/messages/{message.id}", "/customers", f"/customers/{customer.id}"):
        shown = unescape(browser.get(path).text)
        assert "Saplings" in shown, path
        promised = [words for words in ("next try", "Next try", "tries again by itself at") if words in shown]
        # lists say it of what was put off only
        assert bool(promised) == (said and (state == State.deferred or path.startswith("/messages/"))), path
