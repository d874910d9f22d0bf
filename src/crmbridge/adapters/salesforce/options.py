"""What `[crm.options]` says for the Salesforce adapter."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class Login(StrEnum):
    """The ways in, the one to prefer first."""

    JWT = "jwt"
    CLIENT_CREDENTIALS = "client credentials"
    ACCESS_TOKEN = "access token"  # noqa: S105 - a name, not a token
    PASSWORD = "password"  # noqa: S105 - a name, not a password


_NEEDED: dict[Login, tuple[str, ...]] = {
    Login.ACCESS_TOKEN: ("access_token",),
    Login.JWT: ("consumer_key", "private_key", "username"),
    Login.CLIENT_CREDENTIALS: ("consumer_key", "consumer_secret"),
    Login.PASSWORD: ("username", "password", "security_token"),
}
_SHARED_DOMAINS = ("login", "test")
_FIELD_NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
FieldName = Annotated[str, Field(pattern=_FIELD_NAME)]
ProvenanceKey = Literal["run", "confidence", "reason"]


class SalesforceOptions(BaseModel):
    """The options of the Salesforce adapter.

    Secrets come from the environment, or from files: `private_key_file`, `consumer_secret_file` and so on in the settings
    file name a file that holds the secret alone.

    Attributes:
        domain: `login`, `test` (sandboxes), or the My Domain as in `acme.my` (https://acme.my.salesforce.com).
        username: whom to act as; for JWT and for passwords.
        consumer_key: of the connected app.
        private_key: PEM text that signs the JWT.
        consumer_secret: of the connected app, for client credentials.
        access_token: a session id that exists already; needs instance_url or base_url.
        instance_url: where that session lives.
        password: for the login that Salesforce is retiring.
        security_token: beside the password.
        base_url: send everything to this address instead: a sandbox server or a proxy.
        api_version: such as 64.0.
        timeout_s: how long to wait for one answer.
        max_api_calls: stop with LimitReached after so many calls; None for no limit but Salesforce's.
        bulk_read_rows: read an object by the Bulk API from so many records on.
        bulk_write_rows: write by the Bulk API from so many rows on.
        poll_s: how long to wait before a Bulk job is first asked how it goes.
        job_timeout_s: how long to wait for a Bulk job in all.
        settle_wait_s: how long a request whose answer was lost may still be at work on the server.
        contact_lookup_fields: custom lookups to Contact on Opportunity, such as Economic_Buyer__c; one named twice counts once.
        left_field: of Contact; a checkbox, or any field that is filled once a person has left.
        team_field: of User: what counts as the team.
        currency: of amounts, in organisations with a single currency; ISO 4217.
        write_key_field: a unique External Id field of OpportunityContactRole that takes the key of every write, so that
            Salesforce itself refuses to make one role twice.
        provenance_fields: fields of OpportunityContactRole that tell why a role is there: `run`, `confidence`, `reason` ->
            API name.
        read_only: never write, whatever the user may do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    domain: str = Field(default="login", pattern=r"^[A-Za-z0-9.-]+$")
    username: str | None = Field(default=None, repr=False)
    consumer_key: str | None = Field(default=None, repr=False)
    private_key: SecretStr | None = None
    consumer_secret: SecretStr | None = None
    access_token: SecretStr | None = None
    instance_url: str | None = None
    password: SecretStr | None = None
    security_token: SecretStr | None = None
    base_url: str | None = None
    api_version: str = Field(default="64.0", pattern=r"^[4-9]\d\.0$")
    timeout_s: float = Field(default=130, gt=0, le=3600)
    max_api_calls: int | None = Field(default=None, ge=1)
    bulk_read_rows: int = Field(default=6_000, ge=1)
    bulk_write_rows: int = Field(default=2_000, ge=1)
    poll_s: float = Field(default=2, gt=0, le=60)
    job_timeout_s: float = Field(default=3600, gt=0)
    settle_wait_s: float = Field(default=30, ge=0)
    contact_lookup_fields: tuple[str, ...] = ()
    left_field: str | None = Field(default=None, pattern=_FIELD_NAME)
    team_field: str = Field(default="UserRole.Name", pattern=r"^[A-Za-z][A-Za-z0-9_.]*$")
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    write_key_field: str | None = Field(default=None, pattern=_FIELD_NAME)
    provenance_fields: dict[ProvenanceKey, FieldName] = {}
    read_only: bool = False

    @field_validator("base_url", "instance_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("expected an address such as https://acme.my.salesforce.com")
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a user name or password; leave them out")
        return url.rstrip("/")

    @field_validator("contact_lookup_fields")
    @classmethod
    def _field_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not name.isascii() or not name.replace("_", "").isalnum():
                raise ValueError("expected API names of fields, such as Economic_Buyer__c")
        return tuple(dict.fromkeys(names))

    @field_validator("provenance_fields")
    @classmethod
    def _one_field_each(cls, fields: dict[ProvenanceKey, str]) -> dict[ProvenanceKey, str]:
        if len({name.lower() for name in fields.values()}) < len(fields):
            raise ValueError("names one field for two things; give each its own")
        return fields

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        login = self.login
        if login is Login.ACCESS_TOKEN and not (self.instance_url or self.base_url):
            raise ValueError("access_token needs instance_url, where the session lives")
        if login is Login.CLIENT_CREDENTIALS and self.domain in _SHARED_DOMAINS:
            raise ValueError('client credentials need your My Domain: domain = "acme.my"')
        return self

    @model_validator(mode="after")
    def _key_apart(self) -> Self:
        if (self.write_key_field or "").lower() in {name.lower() for name in self.provenance_fields.values()}:
            raise ValueError(f"provenance_fields names {self.write_key_field}, which is the write_key_field; give each its own")
        return self

    @property
    def login(self) -> Login:
        """How to log in, by what is given.

        Raises:
            ValueError: nothing is complete.
        """
        for login, needed in _NEEDED.items():
            if all(getattr(self, name) is not None for name in needed):
                return login
        ways = "; ".join(f"{login}: {', '.join(needed)}" for login, needed in _NEEDED.items())
        raise ValueError(f"no complete login; give all of one of: {ways}")
