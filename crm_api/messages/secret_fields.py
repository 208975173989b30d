"""Fields whose names begin with `secret_`: an account's link, a code. They are for their recipient alone.

A delivery's own row holds only that there is one. The values lie sealed in a row beside it, which goes in the very
transaction in which the delivery comes to an end; with it goes the link that was in a letter nobody took. So no
database, backup or dead letter holds what would open anything.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, or_, select, text, update
from sqlalchemy import String as SqlString
from sqlalchemy import cast as sql_cast
from sqlmodel import Session, col

from crm_api.auth.models import OneTimeLink
from crm_api.auth.sealing import Seal
from crm_api.messages.models import WATCHED, Delivery, DeliverySecret
from crm_api.messages.states import OPEN, State
from shared.fields import NOT_SHOWN, SECRET

PURPOSE = "secret fields of a delivery"
GONE = (
    "It carried a link or a code for its recipient alone, which is kept no longer and goes to nobody else. Invite them "
    "again on their page, or have whoever wrote it write anew: that makes a new one."
)
AT_ONCE = 500


def has_secret(fields: Mapping[str, str]) -> bool:
    return any(name.startswith(SECRET) for name in fields)


def take_out(fields: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The fields as the delivery's row may hold them, and those that are secret."""
    secret = {name: value for name, value in fields.items() if name.startswith(SECRET)}
    return {name: NOT_SHOWN if name in secret else value for name, value in fields.items()}, secret


def close(seal: Seal, delivery_id: UUID, secret: Mapping[str, str]) -> dict[str, Any]:
    """The row beside the delivery's own. It opens for this delivery only."""
    return {"delivery_id": delivery_id, "sealed": seal.close(json.dumps(dict(secret)), _purpose(delivery_id))}


def opened(session: Session, seal: Seal | None, marked: Mapping[UUID, Mapping[str, str]]) -> dict[UUID, dict[str, str]]:
    """All fields, for the letter itself. A secret that is gone, or was sealed with another key, is left out: then the
    letter fails, and says which field it misses."""
    rows = session.execute(select(DeliverySecret).where(col(DeliverySecret.delivery_id).in_(marked))).scalars()
    sealed = {row.delivery_id: row.sealed for row in rows}
    found = {}
    for delivery_id, fields in marked.items():
        text = seal.open(sealed[delivery_id], _purpose(delivery_id)) if seal and delivery_id in sealed else None
        known: dict[str, str] = json.loads(text) if text else {}
        found[delivery_id] = {name: value for name, value in fields.items() if value != NOT_SHOWN} | known
    return found


def _purpose(delivery_id: UUID) -> str:
    return f"{PURPOSE} {delivery_id}"


def there() -> ColumnElement[bool]:
    """For a query of deliveries: whether it has one that is still kept."""
    return exists().where(col(DeliverySecret.delivery_id) == col(Delivery.id)).correlate(Delivery)


def forget(session: Session, ids: Collection[UUID], state: State) -> None:
    """These deliveries have come to this end. A link in a letter that was taken stays good, for whoever reads it."""
    if not ids:
        return
    session.execute(delete(DeliverySecret).where(col(DeliverySecret.delivery_id).in_(ids)))
    if state not in (State.accepted, State.bounced):
        session.execute(delete(OneTimeLink).where(col(OneTimeLink.delivery_id).in_(ids)))


def seal_old(session: Session, seal: Seal) -> int:
    """What an earlier version wrote in the clear and is still on its way; how many deliveries that were."""
    under_way = or_(col(Delivery.state).in_(OPEN), col(Delivery.state) == State.unknown)
    with_secret = sql_cast(col(Delivery.fields), SqlString).like(f'%"{SECRET}%')
    rows: Iterable[Any] = session.execute(
        select(col(Delivery.id), col(Delivery.fields)).where(text(WATCHED), under_way, with_secret)
    )
    done = 0
    for delivery_id, fields in list(rows):
        marked, secret = take_out(fields)
        if all(value == NOT_SHOWN for value in secret.values()):
            continue
        session.add(DeliverySecret(**close(seal, delivery_id, secret)))
        session.execute(update(Delivery).where(col(Delivery.id) == delivery_id).values(fields=marked))
        done += 1
    return done
