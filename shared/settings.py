"""Settings that both services read. Every name is an environment variable with the prefix POSTHASTE_.

A secret may come from a file: POSTHASTE_AMQP_URL_FILE=/run/secrets/amqp instead of POSTHASTE_AMQP_URL.
"""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.hardening import weak_url

PREFIX = "POSTHASTE_"
S = TypeVar("S", bound="PosthasteSettings")


class SettingsError(SystemExit):
    """A setting is missing or wrong; the process ends with one sentence for each."""


class _FromFiles(PydanticBaseSettingsSource):
    """NAME_FILE names a file that holds the value of NAME."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        name = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(name)
        try:
            return (Path(path).read_text().strip() if path else None), field_name, False
        except OSError as problem:
            raise SettingsError(f"{name}: {problem}") from None

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in self.settings_cls.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class PosthasteSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    data_dir: Path = Field(Path(".run"), description="where files, SQLite databases and logs live")
    environment: Literal["local", "production"] = Field(
        "local", description="production refuses to start with default or short secrets; so does a HOST beyond loopback"
    )
    amqp_url: SecretStr = Field(
        SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="RabbitMQ; several nodes of a cluster separated by commas. amqps://… is encrypted, the "
        "certificate checked; ?cacertfile=… names who must have signed it, if not the system's",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much is logged")
    log_format: Literal["text", "json"] = Field("text", description="one line per event, for people or machines")
    sandbox_smtp_port: int = Field(1025, description="port of the sandbox inbox's SMTP server, on 127.0.0.1")

    ledger_days: int = Field(14, ge=3, description="days after which the ledger forgets a finished delivery")

    @property
    def files_dir(self) -> Path:
        """Attachments, by their hash; the same folder for web, dispatch and every mail room."""
        return self.data_dir / "files"

    @property
    def amqp_urls(self) -> list[str]:
        return [url.strip() for url in self.amqp_url.get_secret_value().split(",") if url.strip()]

    @property
    def production(self) -> bool:
        return self.environment == "production"

    def weaknesses(self) -> dict[str, str | None]:
        """What each process has of secrets: setting → what is wrong with it, None if nothing is."""
        broker = [weak_url(url, needs_password=True) for url in self.amqp_urls]
        return {"amqp_url": next((what for what in broker if what), None)}

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> Any:  # type: ignore[override]
        return sources["init_settings"], sources["env_settings"], _FromFiles(settings_cls)


def load(kind: type[S]) -> S:
    """The settings from the environment; ends the process with a sentence for each one that is wrong."""
    try:
        return kind()
    except ValidationError as problem:
        lines = [f"{PREFIX}{str(error['loc'][0]).upper()}: {error['msg']}" for error in problem.errors()]
        raise SettingsError("\n".join(lines)) from None


def refuse_weak(settings: PosthasteSettings, *used: str) -> None:
    """Ends a process that is for production if a secret that it uses is none; `used`: names of settings."""
    if not settings.production:
        return
    found = settings.weaknesses()
    lines = [f"{PREFIX}{name.upper()} {found[name]}." for name in used if found.get(name)]
    if lines:
        why = "This start is for production (POSTHASTE_ENVIRONMENT, or a POSTHASTE_HOST that others reach)."
        raise SettingsError("\n".join([why, *lines]))
