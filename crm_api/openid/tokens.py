"""What an ID token says, once it is proven whose it is (OpenID Connect Core 1.0, 3.1.3.7)."""

from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from crm_api.openid.travel import Person

LEEWAY_SECONDS = 60  # two clocks
# signed with a key that only the provider has. Not "none"; nor HS…, whose key could be the provider's public one; and
# whatever the provider says that it could do, too, is no reason to take it
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
MOST_CHARACTERS = 255  # of a subject (Core, 2)


class NotBelieved(Exception):
    """Says what is wrong with the provider's word, and nothing of what stands in it."""


def read_keys(document: Any) -> KeySet:
    """A JWK Set (RFC 7517). Raises NotBelieved if there is none that could be used."""
    keys = document.get("keys") if isinstance(document, dict) else None
    found = keys if isinstance(keys, list) else []
    ours = [key for key in found if isinstance(key, dict) and key.get("kty") in ("RSA", "EC")]
    try:
        return KeySet.import_key_set({"keys": ours})
    except (JoseError, ValueError, TypeError, KeyError) as problem:
        raise NotBelieved(f"no usable keys: {type(problem).__name__}") from None


def read_claims(
    token: str, keys: KeySet, issuer: str, client_id: str, nonce: str, access_token: str | None
) -> dict[str, Any]:
    """Signature, issuer, audience, authorised party, times and nonce are right. Raises NotBelieved."""
    try:
        decoded = jwt.decode(token, keys, registry=JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False))
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
            {"nonce": nonce, "client_id": client_id, "access_token": access_token},
        )
        claims.validate(leeway=LEEWAY_SECONDS)
    except (JoseError, ValueError, TypeError, KeyError) as problem:
        raise NotBelieved(f"ID token: {type(problem).__name__} {getattr(problem, 'description', '')}") from None
    if not 1 <= len(claims["sub"]) <= MOST_CHARACTERS:
        raise NotBelieved("ID token: no subject")
    return dict(claims)


def person_of(claims: dict[str, Any]) -> Person:
    def text(name: str) -> str:
        value = claims.get(name)
        return value if isinstance(value, str) else ""

    # a boolean (Core, 5.1); some providers write it as a word
    verified = claims.get("email_verified") in (True, "true")
    return Person(text("iss"), text("sub"), text("email"), verified, text("name"))
