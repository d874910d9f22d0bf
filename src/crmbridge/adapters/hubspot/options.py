"""What `[crm.options]` says for the HubSpot adapter."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

_WORD = re.compile(r"[!-~]+")


class Api(StrEnum):
    """The families of paths; HubSpot ends its support for v4 on 30 March 2027."""

    V4 = "v4"
    DATED = "2026-03"


class TouchSource(StrEnum):
    """Where campaign members are found, the one that tells most first."""

    REPORTS = "reports"
    """Contacts that the campaign's own report calls influenced, first or last touched: who responded, by the day."""
    LISTS = "lists"
    """Members of lists that are assets of the campaign: who was addressed, to the second."""


class HubSpotOptions(BaseModel):
    """The options of the HubSpot adapter.

    Secrets come from the environment, or from files: `access_token_file` and so on in the settings file name a file that holds
    the secret alone.

    Attributes:
        access_token: a service key, or the token of an app.
        client_id, client_secret, refresh_token: OAuth instead; access tokens are then fetched as needed.
        base_url: send everything to this address instead: a sandbox server or a proxy.
        api: which family of paths.
        timeout_s: how long to wait for one answer.
        max_api_calls: stop with LimitReached after so many calls; None for no limit but HubSpot's.
        settle_wait_s: how long a request whose answer was lost may still be at work on the server.
        index_lag_s: how far the search index may lag behind; changes are asked for that much earlier.
        primary_label: the label that marks a deal's primary contact; None where the portal has no such thing.
        create_labels: labels that crmbridge may create where they are missing.
        role_labels: the only labels that may be written; empty for all that the portal has.
        touch_sources: where campaign members are found.
        touch_slice_days: how exactly the day of a response is asked for; reports hold no moments.
        links_stay: take links between records as lasting, and do not compare them at every pull: a link that comes or goes while
            its record stays as it was is then not seen before the next full pull. Roles are read whole all the same.
        left_property: of contacts; a checkbox, or any property that is filled once a person has left.
        currency: of amounts, in portals with a single currency; ISO 4217.
        time_zone: of the portal, an IANA name; asked of HubSpot unless set.
        read_only: never write, whatever the token may do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    access_token: SecretStr | None = None
    client_id: str | None = Field(default=None, repr=False)
    client_secret: SecretStr | None = None
    refresh_token: SecretStr | None = None
    base_url: str = "https://api.hubapi.com"
    api: Api = Api.V4
    timeout_s: float = Field(default=60, gt=0, le=3600)
    max_api_calls: int | None = Field(default=None, ge=1)
    settle_wait_s: float = Field(default=30, ge=0)
    index_lag_s: float = Field(default=120, ge=0, le=86_400)
    primary_label: str | None = Field(default=None, min_length=1)
    create_labels: tuple[str, ...] = ()
    role_labels: tuple[str, ...] = ()
    touch_sources: tuple[TouchSource, ...] = (TouchSource.REPORTS, TouchSource.LISTS)
    touch_slice_days: int = Field(default=7, ge=1, le=366)
    links_stay: bool = False
    left_property: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+$")
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    time_zone: str | None = None
    read_only: bool = False

    @field_validator("access_token", "client_secret", "refresh_token", "client_id", mode="after")
    @classmethod
    def _one_word(cls, secret: SecretStr | str | None) -> SecretStr | str | None:
        """What goes into a header has to be one line of plain letters: the client would complain with the secret in its words."""
        told = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        if told is None:
            return None
        if not _WORD.fullmatch(told.strip()):
            raise ValueError("empty, or with a blank, a line break or an odd letter in the middle")
        return SecretStr(told.strip()) if isinstance(secret, SecretStr) else told.strip()

    @field_validator("time_zone")
    @classmethod
    def _a_time_zone(cls, name: str | None) -> str | None:
        try:
            return name and ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            raise ValueError("not an IANA time zone such as Europe/Berlin") from None

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected an address such as https://api.hubapi.com")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user name or password; leave them out")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        oauth = (self.client_id, self.client_secret, self.refresh_token)
        if self.access_token is None and any(part is None for part in oauth):
            raise ValueError("no complete login; give access_token, or all of client_id, client_secret, refresh_token")
        return self
