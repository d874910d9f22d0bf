"""The ways in: OAuth by JWT bearer, client credentials or password, and the old SOAP login."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import unescape

from crmbridge.testing.sandbox.salesforce.wire import Refusal, Reply

if TYPE_CHECKING:
    from crmbridge.testing.sandbox.salesforce.wire import Call

_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LIFE_S = 300
_FIRST_WITHOUT_SOAP = 65.0
_SOAP = """<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns{space}"><soapenv:Body>{inner}</soapenv:Body></soapenv:Envelope>"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What lets somebody in. Invented, and planted: a test can search logs for them."""

    consumer_key: str = "3MVGplantedConsumerKey"
    consumer_secret: str = "planted-consumer-secret-9A"  # noqa: S105 - invented
    username: str = "robot@planted.example"
    password: str = "planted-password-7Q"  # noqa: S105 - invented
    security_token: str = "plantedSecurityToken"  # noqa: S105 - invented
    session_id: str = "00D5gplanted!session.id"


class Logins:
    """Who may come in, and which sessions are alive.

    Args:
        credentials: the one user of the org.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._lock = threading.Lock()
        self._alive = {credentials.session_id}
        self._made = 0

    def admit(self, call: Call) -> None:
        """Let a call through.

        Raises:
            Refusal: 401 INVALID_SESSION_ID.
        """
        kind, _, token = call.headers.get("authorization", "").partition(" ")
        if kind not in ("Bearer", "OAuth") or token not in self._alive:
            raise invalid_session()

    def expire(self, call: Call | None = None) -> None:
        """End the session of a call, or all sessions."""
        with self._lock:
            if call is None:
                self._alive.clear()
            else:
                self._alive.discard(call.headers.get("authorization", "").partition(" ")[2])

    def token(self, call: Call, instance_url: str) -> Reply:
        """Answer `/services/oauth2/token`."""
        form = {name: values[0] for name, values in parse_qs(call.body.decode()).items()}
        checks = {_JWT: self._jwt, "client_credentials": self._client, "password": self._password}
        grant = form.get("grant_type", "")
        if grant not in checks:
            return _oauth_error("unsupported_grant_type", "grant type not supported")
        wrong = checks[grant](form, call)
        if wrong:
            return _oauth_error(*wrong)
        user = f"{instance_url}/id/00D5gA000000001EBA/0055gA000000001EBA"
        session = {"access_token": self._open(), "instance_url": instance_url, "id": user, "token_type": "Bearer"}
        return Reply(200, session | {"issued_at": str(int(time.time() * 1000)), "scope": "api"})

    def soap(self, call: Call, instance_url: str, version: str) -> Reply:
        """Answer the SOAP login; gone from API 65 on."""
        text = call.body.decode()
        if float(version) >= _FIRST_WITHOUT_SOAP:
            return _soap_fault("UNSUPPORTED_API_VERSION", "login() is not available in this API version")
        secret = self.credentials.password + self.credentials.security_token
        allowed = {self.credentials.password, secret}
        if _element(text, "username") != self.credentials.username or _element(text, "password") not in allowed:
            return _soap_fault("INVALID_LOGIN", "INVALID_LOGIN: Invalid username, password, security token; or user locked out.")
        server = f"{instance_url}/services/Soap/u/{version}/00D5gA000000001EBA"
        told = f"<serverUrl>{server}</serverUrl><sessionId>{self._open()}</sessionId>"
        inner = f"<loginResponse><result>{told}</result></loginResponse>"
        return Reply(200, _SOAP.format(space='="urn:partner.soap.sforce.com', inner=inner).encode(), "text/xml;charset=UTF-8")

    def _open(self) -> str:
        with self._lock:
            self._made += 1
            session = f"{self.credentials.session_id}.{self._made}"
            self._alive.add(session)
            return session

    def _jwt(self, form: dict[str, str], _: Call) -> tuple[str, str] | None:
        try:
            head, claims, signature = form.get("assertion", "").split(".")
            header, told = _decoded(head), _decoded(claims)
        except ValueError:
            return "invalid_grant", "invalid assertion"
        if header.get("alg") != "RS256" or not signature:
            return "invalid_grant", "invalid assertion"
        return self._claims(told)

    def _claims(self, told: dict[str, Any]) -> tuple[str, str] | None:
        if told.get("iss") != self.credentials.consumer_key:
            return "invalid_client_id", "client identifier invalid"
        if told.get("sub") != self.credentials.username:
            return "invalid_grant", "user hasn't approved this consumer"
        if not str(told.get("aud", "")).startswith(("https://", "http://")):
            return "invalid_grant", "audience is invalid"
        expires_s = float(told.get("exp", 0))
        if not time.time() < expires_s <= time.time() + _JWT_LIFE_S:
            return "invalid_grant", "expired authorization code"
        return None

    def _client(self, form: dict[str, str], call: Call) -> tuple[str, str] | None:
        kind, _, encoded = call.headers.get("authorization", "").partition(" ")
        given = (form.get("client_id"), form.get("client_secret"))
        if kind == "Basic":
            try:
                key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except ValueError:
                return "invalid_client", "invalid client credentials"
            given = (key, secret)
        return self._client_pair(given)

    def _client_pair(self, given: tuple[str | None, str | None]) -> tuple[str, str] | None:
        if given[0] != self.credentials.consumer_key:
            return "invalid_client_id", "client identifier invalid"
        if given[1] != self.credentials.consumer_secret:
            return "invalid_client", "invalid client credentials"
        return None

    def _password(self, form: dict[str, str], _: Call) -> tuple[str, str] | None:
        known = self.credentials
        wrong = self._client_pair((form.get("client_id"), form.get("client_secret")))
        allowed = {known.password, known.password + known.security_token}
        if wrong or (form.get("username") == known.username and form.get("password") in allowed):
            return wrong
        return "invalid_grant", "authentication failure"


def invalid_session() -> Refusal:
    """The session is unknown or over."""
    return Refusal("INVALID_SESSION_ID", "Session expired or invalid", 401)


def _oauth_error(error: str, description: str) -> Reply:
    return Reply(400, {"error": error, "error_description": description})


def _soap_fault(code: str, message: str) -> Reply:
    inner = (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{message}</faultstring><detail>"
        f"<sf:LoginFault><sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{message}</sf:exceptionMessage>"
        "</sf:LoginFault></detail></soapenv:Fault>"
    )
    return Reply(
        500, _SOAP.format(space=':sf="urn:fault.partner.soap.sforce.com', inner=inner).encode(), "text/xml;charset=UTF-8"
    )


def _element(text: str, name: str) -> str:
    _, _, rest = text.partition(f":{name}>")
    return unescape(rest.partition("<")[0], {"&quot;": '"', "&#x27;": "'"})


def _decoded(part: str) -> dict[str, Any]:
    try:
        told = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError from error
    if not isinstance(told, dict):
        raise ValueError  # noqa: TRY004 (a malformed assertion, whatever is wrong with it)
    return told
