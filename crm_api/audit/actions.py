"""Everything that leaves an entry in the audit, and how it is said. An action that is not here cannot be recorded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """kind: of the object. says: follows the person's name and stands before the object's."""

    kind: str
    says: str


ACTIONS: dict[str, Action] = {
    "message.sent": Action("message", "sent"),
    "message.cancelled": Action("message", "cancelled"),
    "delivery.retried": Action("message", "sent again"),
    "delivery.discarded": Action("message", "discarded"),
    "file.stored": Action("file", "uploaded"),
    "customer.created": Action("customer", "added"),
    "customer.changed": Action("customer", "changed"),
    "customer.archived": Action("customer", "archived"),
    "customer.restored": Action("customer", "restored"),
    "customer.removed": Action("customer", "deleted"),
    "customer.noted": Action("customer", "wrote a note on"),
    "contact.added": Action("customer", "added a contact at"),
    "contact.changed": Action("customer", "changed a contact at"),
    "contact.removed": Action("customer", "removed a contact at"),
    "sandbox.cleared": Action("sandbox", "emptied"),
    "user.signed_in": Action("user", "signed in as"),
    "user.refused": Action("user", "was refused at sign-in as"),
    "user.signed_out": Action("user", "signed out"),
    "user.added": Action("user", "added"),
    "user.invited": Action("user", "sent an invitation to"),
    "user.asked_for_link": Action("user", "asked for a new password as"),
    "user.got_link": Action("user", "made a link for a new password of"),
    "user.changed": Action("user", "changed"),
    "user.disabled": Action("user", "disabled"),
    "user.enabled": Action("user", "enabled"),
    "user.password_changed": Action("user", "changed the password of"),
    "user.sessions_ended": Action("user", "ended sessions of"),
    "user.second_factor_on": Action("user", "turned on the second factor of"),
    "user.second_factor_off": Action("user", "turned off the second factor of"),
    "user.codes_made": Action("user", "made new recovery codes for"),
    "user.code_used": Action("user", "used a recovery code of"),
    "key.made": Action("key", "made"),
    "key.revoked": Action("key", "revoked"),
}

# kind of object → its name, and where it is looked at ({} is its id)
KINDS: dict[str, tuple[str, str | None]] = {
    "message": ("Message", "/messages/{}"),
    "file": ("File", None),
    "customer": ("Customer", "/customers/{}"),
    "user": ("User", "/users/{}"),
    "key": ("API key", "/keys#key-{}"),
    "sandbox": ("Sandbox inbox", "/sandbox"),
}
