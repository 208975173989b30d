"""An OpenID provider that is not ours: django-oauth-toolkit on Django, as a process. tests/support/openid.py starts it.

Argument: a folder with site.json (port, redirect_uri, client_id, client_secret, people) and key-*.pem, of which the
last signs and the others still verify. Accounts and codes are in a database there, so a restart forgets nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import include, path

FOLDER = Path(sys.argv[1])
SITE = json.loads((FOLDER / "site.json").read_text())
KEYS = [file.read_text() for file in sorted(FOLDER.glob("key-*.pem"))]
LOGIN = """<!doctype html><title>Elm Street ID</title><form method="post">{% csrf_token %}
<label>Name {{ form.username }}</label><label>Password {{ form.password }}</label><button>Continue</button></form>"""

settings.configure(
    SECRET_KEY=SITE["client_secret"],
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": FOLDER / "site.sqlite"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "oauth2_provider",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN}),
                    "django.template.loaders.app_directories.Loader",
                ]
            },
        }
    ],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # strong ones are slow on purpose
    ROOT_URLCONF="__main__",
    STATIC_URL="/static/",
    LOGIN_URL="/login/",
    USE_TZ=True,
    OAUTH2_PROVIDER={
        "OIDC_ENABLED": True,
        "OIDC_ISS_ENDPOINT": f"http://127.0.0.1:{SITE['port']}/o",
        "OIDC_RSA_PRIVATE_KEY": KEYS[-1],
        "OIDC_RSA_PRIVATE_KEYS_INACTIVE": KEYS[:-1],
        "OAUTH2_VALIDATOR_CLASS": "__main__.Validator",
        "SCOPES": {"openid": "Who you are", "email": "Your address", "profile": "Your name"},
        "PKCE_REQUIRED": True,
    },
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 (only now there are models)
from django.contrib.auth.views import LoginView  # noqa: E402
from oauth2_provider.models import Application  # noqa: E402
from oauth2_provider.oauth2_validators import OAuth2Validator  # noqa: E402

urlpatterns = [path("login/", LoginView.as_view()), path("o/", include("oauth2_provider.urls"))]


class Validator(OAuth2Validator):  # type: ignore[misc]
    def get_additional_claims(self, request: Any) -> dict[str, Any]:
        user = request.user
        return {"email": user.email, "email_verified": user.is_staff, "name": user.first_name}


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        pass


def fill() -> None:
    call_command("migrate", verbosity=0)
    if User.objects.exists():
        return
    for name, person in SITE["people"].items():
        User.objects.create_user(
            name, person["email"], SITE["password"], first_name=person["name"], is_staff=person["verified"]
        )
    Application.objects.create(
        name="Posthaste",
        client_id=SITE["client_id"],
        client_secret=SITE["client_secret"],
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=SITE["redirect_uri"],
        algorithm="RS256",
    )


if __name__ == "__main__":
    fill()
    server = Server(("127.0.0.1", SITE["port"]), Quiet)
    server.set_app(get_wsgi_application())
    server.serve_forever()
