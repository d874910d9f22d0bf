"""Logs in by simple-salesforce, over the one transport."""

from __future__ import annotations

import warnings
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import requests
from jwt import PyJWTError
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceAuthenticationFailed

from crmbridge.adapters.salesforce.failures import a_code
from crmbridge.adapters.salesforce.options import Login
from crmbridge.errors import CrmRefused, CrmUnavailable, SettingsError

if TYPE_CHECKING:
    from crmbridge.adapters.salesforce.options import SalesforceOptions
    from crmbridge.adapters.salesforce.transport import Transport

_HINTS = {
    "invalid_grant": "check username, domain and certificate; the user must be pre-authorised for the app",
    "invalid_client_id": "consumer_key is not one of this organisation's apps",
    "invalid_client": "consumer_key and consumer_secret do not belong together",
    "UNSUPPORTED_API_VERSION": "the login by password ends with api_version 64.0: use JWT or client credentials",
    "INVALID_LOGIN": "wrong username, password or security_token; or SOAP login is off: use JWT",
}


def log_in(options: SalesforceOptions, transport: Transport) -> Salesforce:
    """Log in and give the client whose every request goes through `transport`.

    Raises:
        CrmRefused: Salesforce said no.
        SettingsError: the private key cannot be used.
        CrmUnavailable: no answer.
    """
    session = requests.Session()
    session.auth = _as_is
    session.mount("https://", transport)
    session.mount("http://", transport)
    code = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # simple-salesforce warns with the consumer key
            return Salesforce(
                session=session,
                version=options.api_version,
                object_pairs_hook=dict,
                parse_float=Decimal,  # money stays exact
                **_credentials(options),
            )
    except SalesforceAuthenticationFailed as error:
        code = a_code(error.code)
    except requests.RequestException as error:
        session.close()
        raise CrmUnavailable(f"cannot log in to Salesforce: {type(error).__name__}") from None
    except (PyJWTError, ValueError, TypeError, AttributeError, KeyError):
        session.close()
        raise _unusable(options) from None
    session.close()
    raise CrmRefused(f"Salesforce refused the login by {options.login}: {code}", hint=_HINTS.get(code)) from None


def _as_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep requests from putting a password of ~/.netrc where the access token is."""
    return request


def _unusable(options: SalesforceOptions) -> SettingsError | CrmUnavailable:
    if options.login is Login.JWT:
        return SettingsError("the private key cannot be used, or the answer to the login cannot be read", hint="give a PEM file")
    return CrmUnavailable("the answer to the login cannot be read", hint="check domain and base_url")


def _credentials(options: SalesforceOptions) -> dict[str, Any]:
    if options.login is Login.ACCESS_TOKEN:
        return {"session_id": _clear(options.access_token), "instance_url": options.instance_url or options.base_url}
    if options.login is Login.JWT:
        return {
            "username": options.username,
            "consumer_key": options.consumer_key,
            "privatekey": _clear(options.private_key),
            "domain": options.domain,
        }
    if options.login is Login.CLIENT_CREDENTIALS:
        return {
            "consumer_key": options.consumer_key,
            "consumer_secret": _clear(options.consumer_secret),
            "domain": options.domain,
        }
    return {
        "username": options.username,
        "password": _clear(options.password),
        "security_token": _clear(options.security_token),
        "domain": options.domain,
    }


def _clear(secret: Any) -> str:  # noqa: ANN401 - SecretStr, present by the choice of login
    value: str = secret.get_secret_value()
    return value
