"""The ways in, with the real client and without."""

import time

import jwt
import pytest
import requests
import simple_salesforce
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@pytest.fixture(scope="module")
def key():
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def works(client):
    return client.query("SELECT COUNT() FROM Contact")["totalSize"] == 5


def test_jwt_bearer_lets_the_real_client_in(api, real_client, key):
    known = api.sandbox.credentials
    client = real_client(api.sandbox, consumer_key=known.consumer_key, username=known.username, privatekey=key, domain="acme.my")
    assert works(client)
    assert api.sandbox.calls["token"] == 1


def test_client_credentials_let_the_real_client_in(api, real_client):
    known = api.sandbox.credentials
    client = real_client(api.sandbox, consumer_key=known.consumer_key, consumer_secret=known.consumer_secret, domain="acme.my")
    assert works(client)


def test_a_session_that_is_open_lets_the_real_client_in(api, real_client):
    assert works(real_client(api.sandbox, session_id=api.sandbox.session_id, instance="acme.my.salesforce.com"))


def test_the_old_login_works_until_it_retires(api, real_client):
    known = api.sandbox.credentials
    login = {"username": known.username, "password": known.password, "security_token": known.security_token}
    assert works(real_client(api.sandbox, version="59.0", **login))
    with pytest.raises(simple_salesforce.SalesforceAuthenticationFailed, match="UNSUPPORTED_API_VERSION"):
        real_client(api.sandbox, version="65.0", **login)
    with pytest.raises(simple_salesforce.SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        real_client(api.sandbox, version="59.0", **(login | {"password": "wrong"}))


@pytest.mark.parametrize(
    ("claim", "value", "error"),
    [
        ("iss", "somebody", "invalid_client_id"),
        ("sub", "stranger@planted.example", "invalid_grant"),
        ("aud", "nowhere", "invalid_grant"),
        ("exp", 1, "invalid_grant"),
        ("exp", 4_000_000_000, "invalid_grant"),
    ],
)
def test_a_wrong_claim_is_refused(api, key, claim, value, error):
    known = api.sandbox.credentials
    claims = {"iss": known.consumer_key, "sub": known.username, "aud": "https://login.salesforce.com"}
    claims |= {"exp": int(time.time()) + 120, claim: value}
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": jwt.encode(claims, key, algorithm="RS256")}
    answer = requests.post(f"{api.sandbox.url}/services/oauth2/token", data=form, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert set(answer.json()) == {"error", "error_description"}


def test_a_wrong_secret_is_refused(api):
    auth = (api.sandbox.credentials.consumer_key, "wrong")
    form = {"grant_type": "client_credentials"}
    answer = requests.post(f"{api.sandbox.url}/services/oauth2/token", data=form, auth=auth, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


def test_without_a_session_nothing_is_told(api):
    api.session.headers["Authorization"] = "Bearer nobody"
    answer = api.query("SELECT Id FROM Contact")
    assert answer.status_code == 401
    assert answer.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_sessions_end_when_told(api):
    assert api.get("/limits").status_code == 200
    api.sandbox.expire_sessions()
    assert api.get("/limits").status_code == 401
