"""Who may do what. This is the one table: each verb, the roles that may use it, and the routes that are it.

A route that no verb names is closed to everybody (guard.py), and a test walks them all. The same verbs are the scopes
of an API key, and what the pages ask before they show a button: `principal.may("customers.change")`.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

Scopes = frozenset[str]


class Role(StrEnum):
    viewer = "viewer"
    agent = "agent"
    manager = "manager"
    operator = "operator"
    admin = "admin"


# a role may do all that these may, and what the table gives it by itself
INCLUDES: dict[Role, tuple[Role, ...]] = {
    Role.viewer: (),
    Role.agent: (Role.viewer,),
    Role.manager: (Role.agent,),
    Role.operator: (Role.viewer,),
    Role.admin: (Role.manager, Role.operator),
}
ROLE_WORDS: dict[Role, str] = {
    Role.viewer: "reads customers and messages, changes nothing",
    Role.agent: "looks after customers and writes to them",
    Role.manager: "an agent who may also act on the letters of colleagues, and delete the customers that they added",
    Role.operator: "keeps the mail going: letters that failed, queues, workers",
    Role.admin: "all of it, and users, keys and the audit",
}


@dataclass(frozen=True, slots=True)
class Verb:
    """roles: each of them, and every role that includes one; none: whoever comes, signed in or not.

    says: follows “may”. scope: whether an API key can be given it; without, only a key for everything has it.
    person: no key at all.
    """

    name: str
    roles: tuple[Role, ...]
    says: str
    routes: tuple[str, ...]
    scope: bool = True
    person: bool = False


_ANY = (Role.viewer,)
VERBS: tuple[Verb, ...] = (
    Verb(
        "open",
        (),
        "sign in, follow a link that was mailed, ask whether the process is well",
        (
            "GET /sign-in",
            "POST /sign-in",
            "POST /sign-in/code",
            "GET /sign-in/openid",
            "GET /sign-in/openid/back",
            "GET /sign-in/forgot",
            "POST /sign-in/forgot",
            "GET /links/{token}",
            "POST /links/{token}",
            "GET /health/live",
            "GET /health/ready",
            "GET /favicon.ico",
            "GET /static/{version}/{name:path}",
        ),
        scope=False,
    ),
    Verb(
        "me",
        _ANY,
        "ask who they are here, and read the description of the API",
        ("GET /api/v1/me", "GET /openapi.json", "HEAD /openapi.json"),
        scope=False,
    ),
    Verb(
        "pages",
        _ANY,
        "use the pages: search, help, live changes, appearance, sign out",
        (
            "GET /",
            "GET /search",
            "GET /events",
            "GET /system",
            "GET /help/keys",
            "GET /help/api",
            "POST /appearance",
            "POST /sign-out",
        ),
        scope=False,
    ),
    Verb(
        "account",
        _ANY,
        "change their own password and second factor, see and end their own sessions",
        (
            "GET /account",
            "POST /account/password",
            "POST /account/sessions/end",
            "POST /account/sessions/{handle}/end",
            "GET /account/second-factor",
            "POST /account/second-factor",
            "GET /account/second-factor/off",
            "POST /account/second-factor/off",
            "POST /account/second-factor/codes",
            "POST /account/openid/remove",
        ),
        scope=False,
        person=True,
    ),
    Verb("system.read", _ANY, "ask what is up and how much waits", ("GET /api/v1/system",)),
    # no route of its own: it is what an alarm says beside what is wrong (crm_api.monitoring.service)
    Verb("system.mend", (Role.operator,), "be told what to do when something is wrong with the mail", ()),
    Verb(
        "customers.read",
        _ANY,
        "see customers, their people and their time lines",
        (
            "GET /customers",
            "GET /customers/suggest",
            "GET /customers/{customer_id}",
            "GET /api/v1/customers",
            "GET /api/v1/customers/tags",
            "GET /api/v1/customers/{customer_id}",
            "GET /api/v1/customers/{customer_id}/timeline",
            "GET /api/v1/customers/{customer_id}/contacts",
            "GET /api/v1/customers/{customer_id}/contacts/{contact_id}",
        ),
    ),
    Verb(
        "customers.change",
        (Role.agent,),
        "add, change, archive and note customers and their people",
        (
            "GET /customers/new",
            "POST /customers",
            "GET /customers/{customer_id}/edit",
            "POST /customers/{customer_id}/edit",
            "POST /customers/{customer_id}/notes",
            "GET /customers/{customer_id}/archive",
            "POST /customers/{customer_id}/archive",
            "POST /customers/{customer_id}/restore",
            "GET /customers/{customer_id}/contacts/new",
            "POST /customers/{customer_id}/contacts",
            "GET /customers/{customer_id}/contacts/{contact_id}",
            "POST /customers/{customer_id}/contacts/{contact_id}",
            "POST /api/v1/customers",
            "PATCH /api/v1/customers/{customer_id}",
            "DELETE /api/v1/customers/{customer_id}",
            "POST /api/v1/customers/{customer_id}/archive",
            "POST /api/v1/customers/{customer_id}/restore",
            "POST /api/v1/customers/{customer_id}/notes",
            "POST /api/v1/customers/{customer_id}/contacts",
            "PATCH /api/v1/customers/{customer_id}/contacts/{contact_id}",
            "DELETE /api/v1/customers/{customer_id}/contacts/{contact_id}",
        ),
    ),
    # no route of its own: it is asked for one customer at a time (crm_api.customers.service)
    Verb("customers.remove_any", (Role.manager,), "delete customers that others added", ()),
    Verb(
        "messages.read",
        _ANY,
        "see messages, and what became of each letter",
        (
            "GET /messages",
            "GET /messages/{message_id}",
            "GET /messages/{message_id}/html",
            "GET /messages/{message_id}/files/{position}/{name}",
            "GET /api/v1/messages",
            "GET /api/v1/messages/{message_id}",
            "GET /api/v1/deliveries",
            "GET /api/v1/deliveries/{delivery_id}",
        ),
    ),
    Verb(
        "messages.send",
        (Role.agent,),
        "write messages and send them",
        (
            "GET /messages/new",
            "POST /messages",
            "POST /messages/compose",
            "POST /messages/preview",
            "POST /messages/recipient",
            "POST /messages/files",
            "POST /api/v1/messages",
            "POST /api/v1/files",
            "GET /api/v1/senders",
        ),
    ),
    Verb(
        "messages.change",
        (Role.agent, Role.operator),
        "cancel their own letters, send them again, discard them",
        (
            "POST /messages/{message_id}/undo",
            "POST /messages/{message_id}/cancel",
            "POST /messages/{message_id}/deliveries/{delivery_id}/cancel",
            "POST /messages/{message_id}/deliveries/{delivery_id}/retry",
            "GET /messages/{message_id}/deliveries/{delivery_id}/discard",
            "POST /messages/{message_id}/deliveries/{delivery_id}/discard",
            "POST /api/v1/messages/{message_id}/cancel",
            "POST /api/v1/deliveries/{delivery_id}/cancel",
            "POST /api/v1/deliveries/{delivery_id}/retry",
            "POST /api/v1/deliveries/{delivery_id}/discard",
        ),
    ),
    # no route of its own: it is asked for one letter at a time (crm_api.messages.actions)
    Verb("messages.change_any", (Role.manager, Role.operator), "do the same with letters that others wrote", ()),
    Verb(
        "reconciliation.read",
        (Role.operator, Role.manager),
        "see whether database, broker and dead letters agree",
        ("GET /reconciliation", "GET /api/v1/reconciliation", "GET /api/v1/reconciliation/findings"),
    ),
    Verb(
        "reconciliation.change",
        (Role.operator,),
        "have them compared, requeue what the broker has lost, and remove what is no delivery's",
        (
            "POST /reconciliation/compare",
            "POST /reconciliation/requeue",
            "POST /reconciliation/give-up",
            "GET /reconciliation/strangers/remove",
            "POST /reconciliation/strangers/remove",
            "POST /messages/{message_id}/finish",
            "POST /api/v1/reconciliation/compare",
            "POST /api/v1/reconciliation/requeue",
            "POST /api/v1/reconciliation/give-up",
            "POST /api/v1/reconciliation/strangers/remove",
            "POST /api/v1/messages/{message_id}/finish",
        ),
    ),
    Verb(
        "sandbox.read",
        (Role.admin,),
        "read the sandbox inbox: every mail lies there, also invitations and links for a new password",
        (
            "GET /sandbox",
            "GET /sandbox/{mail_id}",
            "GET /sandbox/{mail_id}/html",
            "GET /sandbox/{mail_id}/source",
            "GET /sandbox/{mail_id}/files/{position}",
            "GET /api/v1/sandbox/messages",
            "GET /api/v1/sandbox/messages/{mail_id}",
            "GET /api/v1/sandbox/messages/{mail_id}/raw",
        ),
    ),
    Verb(
        "sandbox.clear",
        (Role.admin,),
        "empty the sandbox inbox",
        ("GET /sandbox/clear", "POST /sandbox/clear", "DELETE /api/v1/sandbox/messages"),
    ),
    Verb(
        "users.manage",
        (Role.admin,),
        "invite users, change their roles, disable them",
        (
            "GET /users",
            "GET /users/new",
            "POST /users",
            "GET /users/{user_id}",
            "POST /users/{user_id}",
            "POST /users/{user_id}/invite",
            "GET /users/{user_id}/disable",
            "POST /users/{user_id}/disable",
            "POST /users/{user_id}/enable",
            "POST /users/{user_id}/end-sessions",
            "GET /api/v1/users",
            "POST /api/v1/users",
            "GET /api/v1/users/{user_id}",
            "PATCH /api/v1/users/{user_id}",
            "POST /api/v1/users/{user_id}/invite",
            "POST /api/v1/users/{user_id}/disable",
            "POST /api/v1/users/{user_id}/enable",
        ),
    ),
    Verb(
        "users.rescue",
        (Role.admin,),
        "turn off the second factor of somebody who has lost it",
        ("POST /users/{user_id}/second-factor-off",),
        scope=False,
        person=True,
    ),
    Verb(
        "keys.manage",
        (Role.admin,),
        "make API keys and revoke them",
        (
            "GET /keys",
            "GET /keys/new",
            "POST /keys",
            "GET /keys/{key_id}/revoke",
            "POST /keys/{key_id}/revoke",
            "GET /api/v1/keys",
            "POST /api/v1/keys",
            "POST /api/v1/keys/{key_id}/revoke",
        ),
    ),
    Verb(
        "senders.manage",
        (Role.admin,),
        "say who may stand in From",
        (
            "GET /senders",
            "POST /senders",
            "POST /senders/{sender_id}/remove",
            "POST /api/v1/senders",
            "DELETE /api/v1/senders/{sender_id}",
        ),
    ),
    Verb("audit.read", (Role.admin,), "read the audit", ("GET /audit", "GET /audit.csv", "GET /api/v1/audit")),
)

BY_NAME: dict[str, Verb] = {verb.name: verb for verb in VERBS}
BY_ROUTE: dict[str, Verb] = {route: verb for verb in VERBS for route in verb.routes}
SCOPES: tuple[str, ...] = tuple(verb.name for verb in VERBS if verb.scope)

_open_paths = {route.partition(" ")[2] for route in BY_NAME["open"].routes}
OPEN = frozenset(path for path in _open_paths if "{" not in path)
OPEN_FOLDERS = tuple(sorted(path.partition("{")[0] for path in _open_paths if "{" in path))


def is_role_for(role: str, verb: Verb) -> bool:
    return role in Role.__members__ and not _with_included(Role(role)).isdisjoint(verb.roles)


def _with_included(role: Role) -> set[Role]:
    return {role}.union(*(_with_included(other) for other in INCLUDES[role]))


@lru_cache(maxsize=1000)
def granted(role: str, via_key: bool = False, scopes: Scopes | None = None) -> Scopes:
    """The verbs that this role may use; through a key, those that the key has. scopes: None for all of them."""
    return frozenset(
        verb.name
        for verb in VERBS
        if is_role_for(role, verb)
        and not (via_key and verb.person)
        and (scopes is None or verb.name in scopes or verb.name == "me")
    )
