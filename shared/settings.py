"""Settings that both services read. Every name is an environment variable with the prefix POSTHASTE_.

A secret may come from a file: POSTHASTE_AMQP_URL_FILE=/run/secrets/amqp instead of POSTHASTE_AMQP_URL. What is wrong
ends the start with a sentence for each setting, and none of them says a value that may be secret.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.amqp_urls import read_amqp_urls, split
from shared.hardening import weak_password
from shared.header_text import one_line
from shared.readable import folder
from shared.setting_files import Unreadable, from_file

PREFIX = "POSTHASTE_"
S = TypeVar("S", bound="PosthasteSettings")
DAY_SECONDS = 86_400

# the kinds of numbers that settings are: none may be so large that a timer or a counter cannot hold it
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=DAY_SECONDS)]


class SettingsError(SystemExit):
    """A setting is missing or wrong; the process ends with one sentence for each."""


def _seen_in_full(text: str) -> str:
    """Text that is shown or sent as one line. Whoever sets it is told, not cleaned up after."""
    if one_line(text) != text or not text.replace("\xa0", " ").isprintable():
        raise ValueError("a character that cannot be seen stands in it, or a space at its end")
    return text


OneLine = Annotated[str, AfterValidator(_seen_in_full)]


class _FromFiles(PydanticBaseSettingsSource):
    """NAME_FILE names a file that holds the value of NAME."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return from_file(f"{PREFIX}{field_name.upper()}"), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(None, name)[0] for name in self.settings_cls.model_fields}
        return {name: value for name, value in found.items() if value is not None}


class PosthasteSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret
    )

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
    sandbox_smtp_port: Port = Field(1025, description="port of the sandbox inbox's SMTP server, on 127.0.0.1")

    ledger_days: int = Field(14, ge=3, le=3650, description="days after which the ledger forgets a finished delivery")

    @field_validator("data_dir")
    @classmethod
    def _is_a_folder(cls, path: Path) -> Path:
        if not str(path).isprintable() or "?" in str(path):  # an SQLite URL is made of it
            raise ValueError("neither ? nor a character that cannot be seen may stand in it")
        return folder(path)

    @field_validator("amqp_url")
    @classmethod
    def _names_brokers(cls, url: SecretStr) -> SecretStr:
        read_amqp_urls(url.get_secret_value())
        return url

    @property
    def files_dir(self) -> Path:
        """Attachments, by their hash; the same folder for web, dispatch and every mail room."""
        return self.data_dir / "files"

    @property
    def amqp_urls(self) -> list[str]:
        return split(self.amqp_url.get_secret_value())

    @property
    def production(self) -> bool:
        return self.environment == "production"

    def weaknesses(self) -> dict[str, str | None]:
        """What each process has of secrets: setting → what is wrong with it, None if nothing is."""
        broker = [
            weak_password(url.user or "", url.password or "", needed=True)
            for url in read_amqp_urls(self.amqp_url.get_secret_value())
        ]
        return {"amqp_url": next((what for what in broker if what), None)}

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> Any:  # type: ignore[override]
        return sources["init_settings"], _FromFiles(settings_cls), sources["env_settings"]


def load(kind: type[S]) -> S:
    """The settings from the environment; ends the process with a sentence for each one that is wrong."""
    try:
        return kind()
    except ValidationError as problem:
        lines = [_sentence(error) for error in problem.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None


def _sentence(error: Any) -> str:
    name = f"{PREFIX}{str(error['loc'][0]).upper()}"
    if isinstance(error["input"], Unreadable):
        return f"{name}_FILE: {error['input'].sentence}"
    if not os.environ.get(name) and os.environ.get(f"{name}_FILE"):
        name += "_FILE"
    return f"{name}: {error['msg'].removeprefix('Value error, ')}"


def refuse_weak(settings: PosthasteSettings, *used: str) -> None:
    """Ends a process that is for production if a secret that it uses is none; `used`: names of settings."""
    if not settings.production:
        return
    found = settings.weaknesses()
    lines = [f"{PREFIX}{name.upper()} {found[name]}." for name in used if found.get(name)]
    if lines:
        why = "This start is for production (POSTHASTE_ENVIRONMENT, or a POSTHASTE_HOST that others reach)."
        raise SettingsError("\n".join([why, *lines]))
