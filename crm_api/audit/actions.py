"""Everything that leaves an entry in the audit, and how it is said. An action that is not here cannot be recorded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """kind: of the object. says: follows the person's name and stands before the object's."""

    kind: str
    says: str


ACTIONS: dict[str, Action] = {
    "message.sent": Action("message", "sent the message"),
    "message.cancelled": Action("message", "cancelled the message"),
    "message.requeued": Action("message", "requeued lost letters of the message"),
    "delivery.retried": Action("message", "sent again the message"),
    "delivery.discarded": Action("message", "discarded a letter of the message"),
    "file.stored": Action("file", "uploaded the file"),
    "customer.created": Action("customer", "added the customer"),
    "customer.changed": Action("customer", "changed the customer"),
    "customer.archived": Action("customer", "archived the customer"),
    "customer.restored": Action("customer", "restored the customer"),
    "customer.removed": Action("customer", "deleted the customer"),
    "customer.noted": Action("customer", "wrote a note on"),
    "contact.added": Action("customer", "added a contact at"),
    "contact.changed": Action("customer", "changed a contact at"),
    "contact.removed": Action("customer", "removed a contact at"),
    "reconciliation.requeued": Action("reconciliation", "requeued lost letters in"),
    "reconciliation.given_up": Action("reconciliation", "gave up letters lost long ago in"),
    "reconciliation.removed": Action("reconciliation", "removed strangers among the dead letters in"),
    "sandbox.cleared": Action("sandbox", "emptied the"),
    "user.signed_in": Action("user", "signed in as"),
    "user.refused": Action("user", "was refused at sign-in as"),
    "user.signed_out": Action("user", "signed out"),
    "user.added": Action("user", "added the user"),
    "user.invited": Action("user", "sent an invitation to"),
    "user.asked_for_link": Action("user", "asked for a new password as"),
    "user.got_link": Action("user", "made a link for a new password of"),
    "user.changed": Action("user", "changed the user"),
    "user.disabled": Action("user", "disabled the user"),
    "user.enabled": Action("user", "let in again the user"),
    "user.password_changed": Action("user", "changed the password of"),
    "user.sessions_ended": Action("user", "ended sessions of"),
    "user.second_factor_on": Action("user", "turned on the second factor of"),
    "user.second_factor_off": Action("user", "turned off the second factor of"),
    "user.codes_made": Action("user", "made new recovery codes for"),
    "user.code_used": Action("user", "used a recovery code of"),
    "user.openid_linked": Action("user", "linked a person at the OpenID provider to"),
    "user.openid_removed": Action("user", "removed the link to the OpenID provider from"),
    "sender.allowed": Action("sender", "allowed the sender"),
    "sender.removed": Action("sender", "took from the list the sender"),
    "key.made": Action("key", "made the API key"),
    "key.revoked": Action("key", "revoked the API key"),
}

# kind of object → its name, and where it is looked at ({} is its id)
KINDS: dict[str, tuple[str, str | None]] = {
    "message": ("Message", "/messages/{}"),
    "file": ("File", None),
    "customer": ("Customer", "/customers/{}"),
    "user": ("User", "/users/{}"),
    "key": ("API key", "/keys#key-{}"),
    "sender": ("Sender", "/senders#sender-{}"),
    "reconciliation": ("Reconciliation", "/reconciliation"),
    "sandbox": ("Sandbox inbox", "/sandbox"),
}
