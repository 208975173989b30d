"""A CRM for tests: its database, its settings, somebody who is signed in, and letters."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from crm_api.auth.models import User
from crm_api.auth.principal import Principal
from crm_api.customers.models import Customer
from crm_api.db import Database
from crm_api.messages import service
from crm_api.messages.models import Delivery, Message
from crm_api.messages.schemas import MessageDraft
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.files import FileStore


@dataclass
class Crm:
    database: Database
    settings: CrmSettings
    files: FileStore
    principal: Principal

    def send(self, *to: str, **members: Any) -> Message:
        """A message to bare addresses, committed."""
        draft = {
            "to": [{"email": address} for address in to or ("ada@example.com",)],
            "subject": "Saplings",
            "text": "They leave on Thursday.",
        } | members
        with self.database.write() as session:
            return service.create(
                session, self.files, self.settings, MessageDraft.model_validate(draft), self.principal, now()
            )

    def customer(self, **members: Any) -> Customer:
        members = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Byron"} | members
        sort = f"{members['last_name']} {members['first_name']}".lower()
        with self.database.write() as session:
            customer = Customer(**members, sort_name=sort, sort_company=members.get("company", "").lower())
            session.add(customer)
        return customer

    def deliveries(self, message_id: UUID) -> list[Delivery]:
        with self.database.read() as session:
            return service.deliveries(session, message_id, limit=1000)[0]

    def delivery(self, message_id: UUID) -> Delivery:
        (only,) = self.deliveries(message_id)
        return only

    def message(self, message_id: UUID) -> Message:
        with self.database.read() as session:
            return service.get(session, message_id)


def crm_of(settings: CrmSettings, database: Database, user: User) -> Crm:
    principal = Principal(user.id, user.name, user.email, user.role, "page", f"user:{user.id}")
    return Crm(database, settings, FileStore(settings.files_dir), principal)
