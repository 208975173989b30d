"""The table of roles, for people: docs/security.md holds it, and a test holds it to this."""

from crm_api.auth.roles import ROLE_WORDS, VERBS, Role, Verb, is_role_for


def as_markdown() -> str:
    lines = [f"- **{role}** {words}" for role, words in ROLE_WORDS.items()]
    lines += ["", f"| verb | may | {' | '.join(Role)} | by key |", f"|---|---|{'---|' * (len(Role) + 1)}"]
    lines += [_line(verb) for verb in VERBS if verb.roles]
    return "\n".join(lines) + "\n"


def _line(verb: Verb) -> str:
    marks = ["yes" if is_role_for(role, verb) else "" for role in Role]
    key = "never" if verb.person else "scope" if verb.scope else "any" if verb.name == "me" else "all-scopes key"
    return f"| `{verb.name}` | {verb.says} | {' | '.join(marks)} | {key} |"
