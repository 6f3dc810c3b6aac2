"""Settings: typed, read once from `TENURE_*` variables and the optional `tenure.yaml`.

Variables win over the file. Provider keys are never settings: a project names the variable or file
that holds its key.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from worker.model.errors import TenureError
from worker.model.work import Lease

_EMBEDDED_BROKER = "memory://"
_REDIS = ("redis://", "rediss://", "unix://")
_LAST_PORT = 65535
_SHORTEST_LEASE = 20
_LIMIT = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour)")


class SettingsInvalid(TenureError):
    """A variable or a line of `tenure.yaml` has the wrong form."""

    code = "settings_invalid"


class Settings(BaseSettings):
    """What a process of Tenure needs to know before it starts."""

    model_config = SettingsConfigDict(
        env_prefix="TENURE_", extra="forbid", frozen=True, populate_by_name=True
    )

    data_dir: Path = Path(".tenure")
    database_url: str = ""
    broker_url: str = _EMBEDDED_BROKER
    redis_url: str = ""
    redis_prefix: str = "tenure"
    policies: Path = Path("policies")
    policies_clean: bool = False
    listen: str = "127.0.0.1:8400"
    limit_requests: str = "6000/minute"
    limit_registrations: str = "60000/minute"
    limit_refused_keys: str = "60/minute"
    metrics_listen: str = ""
    log_format: Literal["", "console", "json"] = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    signing_key_file: Path | None = None
    audit_origin: str = "tenure.local/retention"
    anchor_folder: Path | None = None
    anchor_git: Path | None = None
    url: str = ""
    api_key: str = Field(default="", repr=False)
    tick_seconds: Annotated[float, Field(gt=0, le=3600)] = 15
    lease_seconds: Annotated[int, Field(le=3600)] = 300
    reverify_hours: Annotated[float, Field(ge=24, le=24 * 365)] = 24
    stall_seconds: Annotated[float, Field(ge=0, le=86_400)] = 600
    drains_per_credential: Annotated[int, Field(ge=1, le=64)] = 2
    worker_concurrency: Annotated[int, Field(ge=0, le=512)] = 0
    coverage_hours: Annotated[float, Field(ge=0, le=24 * 365)] = 24
    provider_keys: Annotated[tuple[str, ...], NoDecode] = (
        "OPENAI_API_KEY*",
        "TENURE_KEY_*",
        "/run/secrets/*",
    )
    config: Path = Path("tenure.yaml")

    @field_validator("provider_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("lease_seconds")
    @classmethod
    def _lease_is_long_enough(cls, value: int) -> int:
        if value < _SHORTEST_LEASE:
            msg = (
                f"must be at least {_SHORTEST_LEASE} seconds: a request is given a quarter of the lease, and "
                "with less than 5 s a slow answer would count as lost"
            )
            raise ValueError(msg)
        return value

    @field_validator("audit_origin")
    @classmethod
    def _origin_is_one_word(cls, value: str) -> str:
        # C2SP tlog-checkpoint: the origin is a line of its own, and a note key name has no space or plus.
        if not value or any(c.isspace() or c == "+" for c in value):
            msg = "must be non-empty, without spaces and '+', for example example.com/retention/prod"
            raise ValueError(msg)
        return value

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _listen_has_a_port(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "metrics_listen":
            return value
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > _LAST_PORT:
            msg = f"must be HOST:PORT with a port of at most {_LAST_PORT}, for example 127.0.0.1:8400"
            raise ValueError(msg)
        return value

    @field_validator("limit_requests", "limit_registrations", "limit_refused_keys")
    @classmethod
    def _limit_is_one(cls, value: str) -> str:
        if value and not _LIMIT.fullmatch(value):
            msg = (
                "must be COUNT/second, COUNT/minute or COUNT/hour, for example 600/minute, or empty for none"
            )
            raise ValueError(msg)
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker_has_a_scheme(cls, value: str) -> str:
        if "://" not in value:
            msg = "must be a URL, for example redis://127.0.0.1:6379/0, or memory://"
            raise ValueError(msg)
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_is_redis(cls, value: str) -> str:
        if value and not value.startswith(_REDIS):
            msg = "must be a Redis URL, for example redis://127.0.0.1:6379/0"
            raise ValueError(msg)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, and variables over the file."""
        del dotenv_settings, file_secret_settings
        chosen = env_settings().get("config") or "tenure.yaml"
        return init_settings, env_settings, _ConfigFile(settings_cls, Path(str(chosen)))

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL in use; SQLite in the data folder unless one is given."""
        if not self.database_url:
            return f"sqlite:///{(self.data_dir / 'tenure.db').resolve()}"
        url = self.database_url
        for short in ("postgresql://", "postgres://"):
            if url.startswith(short):
                return "postgresql+psycopg://" + url.removeprefix(short)
        return url

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this machine."""
        return self.database.startswith("sqlite")

    @property
    def is_embedded(self) -> bool:
        """Whether Celery's messages stay inside this process."""
        return self.broker_url.startswith(_EMBEDDED_BROKER)

    @property
    def redis(self) -> str:
        """The pacer's Redis: the broker's where that is Redis; empty means the in-memory pacer."""
        if self.redis_url:
            return self.redis_url
        return self.broker_url if self.broker_url.startswith(_REDIS) else ""

    @property
    def lease(self) -> Lease:
        """How long a claim lasts; every other limit follows from it."""
        return Lease(length=timedelta(seconds=self.lease_seconds))

    @property
    def signing_key(self) -> Path:
        """Where the Ed25519 seed of the log lies."""
        return self.signing_key_file or self.data_dir / "signing.key"

    @property
    def anchors_folder(self) -> Path:
        """Where copies of the log's checkpoints are kept."""
        return self.anchor_folder or self.data_dir / "anchors"

    @property
    def host(self) -> str:
        """The address that the API listens on."""
        return self.address_of(self.listen)[0]

    @property
    def port(self) -> int:
        """The port that the API listens on; 0 takes a free one."""
        return self.address_of(self.listen)[1]

    @staticmethod
    def address_of(listen: str) -> tuple[str, int]:
        """Return host and port of ``HOST:PORT``."""
        host, _, port = listen.rpartition(":")
        return host.strip("[]"), int(port)


class _ConfigFile(PydanticBaseSettingsSource):
    """`tenure.yaml`: the same names as the variables, in lower case without the prefix."""

    def __init__(self, settings_cls: type[BaseSettings], path: Path) -> None:
        super().__init__(settings_cls)
        self._path = path

    def get_field_value(self, field: object, field_name: str) -> tuple[Any, str, bool]:
        """Not used: the file is read whole."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Read the file; a missing one is no settings."""
        if not self._path.is_file():
            return {}
        try:
            loaded = YAML(typ="safe", pure=True).load(self._path)
        except (YAMLError, OSError, UnicodeDecodeError) as e:
            problem = f"{self._path} cannot be read: {e}"
            raise SettingsInvalid(problem, repair="Mend the file, or point TENURE_CONFIG elsewhere.") from e
        if loaded is None:
            return {}
        if not isinstance(loaded, dict):
            problem = f"{self._path} must hold a mapping of settings."
            raise SettingsInvalid(problem, repair='For example "tick_seconds: 15".')
        return loaded


def load_settings(**given: object) -> Settings:
    """Read the settings of this process; raises SettingsInvalid that names every wrong one."""
    try:
        return Settings(**given)  # type: ignore[arg-type]  # pydantic checks them, that is its point
    except ValidationError as e:
        lines = [f"{_name(error['loc'])}: {_told(error['msg'])}" for error in e.errors(include_input=False)]
        problem = "; ".join(lines)
        raise SettingsInvalid(problem, repair="See the variables in docs/settings.md.") from e


def _name(loc: tuple[int | str, ...]) -> str:
    return "TENURE_" + "_".join(str(part) for part in loc).upper() if loc else "settings"


def _told(message: str) -> str:
    return message.removeprefix("Value error, ")
