"""Invitations and links for a new password, as our own letters in the urgent lane.

The link stands in a field whose name begins with `secret_`: no page and no API shows its value.
"""

from sqlmodel import Session

from crm_api.auth import links
from crm_api.auth.models import User
from crm_api.auth.principal import Principal
from crm_api.messages.schemas import MessageDraft, RecipientDraft
from crm_api.messages.service import create, deliveries
from crm_api.messages.states import State
from crm_api.settings import CrmSettings
from shared.clock import now
from shared.files import FileStore
from shared.lanes import Lane

_LETTERS: dict[links.Kind, tuple[str, str]] = {
    "invite": (
        "Your way into Posthaste",
        "Dear {{ name }},\n\n{{ inviter }} has made an account for you. Choose a password here, and you are in:\n\n"
        "{{ secret_link }}\n\nThe link works once, within three days. You sign in with {{ email }}.\n",
    ),
    "reset": (
        "A new password for Posthaste",
        "Dear {{ name }},\n\nyou can choose a new password here:\n\n{{ secret_link }}\n\n"
        "The link works once, within an hour. If you did not ask for it, do nothing: your password stays as it is.\n",
    ),
}

# where nobody has a password
_WELCOME = (
    "Your way into Posthaste",
    "Dear {{ name }},\n\n{{ inviter }} has made an account for you. Sign in with {{ label }} here, as {{ email }}:\n\n"
    "{{ link }}\n",
)


def url_of(settings: CrmSettings, token: str) -> str:
    return f"{settings.base_url}/links/{token}"


def send_link(
    session: Session, files: FileStore, settings: CrmSettings, by: Principal, user: User, kind: links.Kind
) -> None:
    """Makes the link and its letter. Earlier links of this kind end. Raises Invalid for an address that is none."""
    values, token = {"inviter": by.name}, None
    if settings.openid_only:
        subject, text = _WELCOME
        values |= {"link": f"{settings.base_url}/sign-in", "label": settings.openid_label}
    else:
        subject, text = _LETTERS[kind]
        token = links.make(session, user, kind)
        values["secret_link"] = url_of(settings, token)
    to = RecipientDraft(email=user.email, name=user.name, fields=values)
    draft = MessageDraft(to=[to], subject=subject, text=text, lane=Lane.urgent)
    message = create(session, files, settings, draft, by, now())
    if token:
        (delivery,) = deliveries(session, message.id)[0]
        links.put_in_letter(session, token, delivery.id)
        if delivery.state == State.suppressed:
            links.forget(session, user.id, kind)
