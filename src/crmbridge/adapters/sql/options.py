"""What `[crm.options]` says for the SQL adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from crmbridge.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_EXAMPLES = "sqlite:///folder/crm.db or postgresql://user@host/database"


class SqlOptions(BaseModel):
    """The options of the SQL adapter.

    Attributes:
        url: an SQLAlchemy URL without a password: sqlite:///file or postgresql://user@host:port/database.
        password: from the environment; never from the settings file.
        password_file: a file that holds only the password.
        mapping: the mapping file (docs/adapters/sql.md); without it the tables are the canonical ones.
        schema_name: `schema` in the settings; where tables are looked for, unless the mapping says otherwise.
        time_zone: of dates and of datetimes without an offset in the database.
        read_only: never write, whatever the account may do.
        timeout_s: how long to wait for a connection, and for a lock.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str
    password: SecretStr | None = None
    password_file: Path | None = None
    mapping: Path | None = None
    schema_name: str | None = Field(default=None, alias="schema", min_length=1)
    time_zone: str = "UTC"
    read_only: bool = False
    timeout_s: int = Field(default=30, ge=1, le=3600)

    @field_validator("url")
    @classmethod
    def _a_known_url(cls, url: str) -> str:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):
            # The text itself stays out of the message: it may hold a password.
            raise ValueError(f"not a database URL; expected {_EXAMPLES}") from None
        _refuse_unusable(parsed)
        return url

    @field_validator("time_zone")
    @classmethod
    def _a_known_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            raise ValueError("unknown time zone; expected an IANA name such as UTC or Europe/Berlin") from None
        return name

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password is not None and self.password_file is not None:
            raise ValueError("give password or password_file, not both")
        return self

    @property
    def is_sqlite(self) -> bool:
        """True for SQLite, False for PostgreSQL: there is no third."""
        return sa.make_url(self.url).drivername.startswith("sqlite")

    @property
    def sqlite_path(self) -> Path:
        """The database file; only for SQLite."""
        return Path(sa.make_url(self.url).database or "")

    def full_url(self) -> URL:
        """The URL with its driver and its password, to be handed to SQLAlchemy and to nobody else.

        Raises:
            SettingsError: `password_file` cannot be read or is empty.
        """
        url = sa.make_url(self.url)
        return url.set(drivername=_DRIVERS[url.drivername], password=self._secret())

    def _secret(self) -> str | None:
        if self.password_file is None:
            return self.password.get_secret_value() if self.password else None
        try:
            secret = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"password_file {str(self.password_file)!r} cannot be read") from None
        if not secret:
            raise SettingsError(f"password_file {str(self.password_file)!r} is empty")
        return secret


def _refuse_unusable(url: URL) -> None:
    if url.drivername not in _DRIVERS:
        raise ValueError(f"the database must be one of {', '.join(_DRIVERS)}; expected {_EXAMPLES}")
    if url.password is not None or any("password" in key.lower() for key in url.query):
        raise ValueError(
            "holds a password; leave it out and set password_file, or the environment variable CRMBRIDGE_CRM__OPTIONS__PASSWORD"
        )
    if url.drivername.startswith("sqlite") and url.database in (None, "", ":memory:"):
        raise ValueError("names no database file; expected sqlite:///folder/crm.db")
