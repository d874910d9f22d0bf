"""The one way out: every request passes through one API client of hubspot-api-client, as raw JSON, and is sent exactly once.

The client's typed models drop answers that they do not expect, and its own repetition knows nothing of writes. So its models
are left aside, and who may ask again is decided in `connection`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError, SSLError
from urllib3.util.retry import Retry

from crmbridge.adapters.hubspot.failures import budget_spent

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.options import HubSpotOptions

_CONNECT_TIMEOUT_S = 15.0
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"
# Not SSLError: TLS may break at any moment, also while the answer is read.
_UNSENT = (NewConnectionError, ConnectTimeoutError)


class NoAnswer(Exception):
    """No whole answer came.

    Attributes:
        reason: the error's kind.
        is_unsent: whether the request surely never left.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(type(error).__name__)
        inner = getattr(error, "reason", None) if isinstance(error, MaxRetryError) else error
        self.reason = type(inner if isinstance(inner, BaseException) else error).__name__
        self.is_unsent = isinstance(inner, _UNSENT)


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came; names of headers in small letters."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Transport:
    """Sends requests, and counts them.

    Attributes:
        calls: so far.
        daily: (left, allowed) of the portal, as of the last answer that said so.
    """

    def __init__(self, options: HubSpotOptions, token: str) -> None:
        # The client takes a while to import, which `crmbridge --help` should not pay for.
        from hubspot import HubSpot

        self._options = options
        client = HubSpot(access_token=token, retry=Retry(0, redirect=0), host=options.base_url)
        self._api: Any = client.crm.deals.basic_api.api_client
        self._api.configuration.host = options.base_url
        # What is sent is plain JSON: to look through thousands of ids for models of the client would cost as much as all else.
        self._api.sanitize_for_serialization = _as_it_is
        self._timeout = (min(_CONNECT_TIMEOUT_S, options.timeout_s), options.timeout_s)
        self.calls = 0
        self.daily: tuple[int, int] | None = None
        self._wait_until_s = 0.0

    def renew(self, token: str) -> None:
        """Use another access token from now on."""
        self._api.configuration.access_token = token

    def exchange(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Raw:
        """Send one request, once, and give its answer whatever its status.

        Args:
            method: of HTTP.
            path: under `base_url`.
            query: after the question mark; values are sent as text, booleans as HubSpot writes them.
            body: to be sent as JSON.
            form: to be sent as a form instead, without the token.

        Raises:
            LimitReached: the budget is spent; nothing was sent.
            NoAnswer: no whole answer came.
        """
        self._spend()
        raw = self._called(method, path, query, body, form)
        self._note(raw)
        return raw

    def rest(self) -> bool:
        """Wait where HubSpot said that nothing is left of the present ten seconds; give whether it did."""
        left_s = self._wait_until_s - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(left_s)
        return True

    def close(self) -> None:
        """Let go of the connections."""
        self._api.rest_client.pool_manager.clear()
        self._api.close()

    def _called(
        self, method: str, path: str, query: Mapping[str, object] | None, body: object, form: Mapping[str, str] | None
    ) -> Raw:
        headers = {"Accept": _JSON} | ({"Content-Type": _FORM if form else _JSON} if method != "GET" else {})
        try:
            answer = self._api.call_api(
                path,
                method,
                query_params=[(name, _text(value)) for name, value in (query or {}).items()],
                header_params=headers,
                body=body,
                post_params=list(form.items()) if form else None,
                auth_settings=[] if form else ["oauth2"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=self._timeout,
            )
            return Raw(int(answer.status), _named(answer.headers), answer.data)
        except (HTTPError, OSError, ValueError) as error:  # the last of them for headers that cannot be sent
            raise NoAnswer(error) from None
        except Exception as error:
            # Every API package of the client has an ApiException of its own; they share these three attributes.
            status, content = getattr(error, "status", None), getattr(error, "body", None)
            if not isinstance(status, int) or status <= 0:
                if isinstance(status, int):  # 0: TLS could not be set up
                    raise NoAnswer(SSLError()) from None
                raise
            return Raw(status, _named(getattr(error, "headers", None)), _bytes(content))

    def _spend(self) -> None:
        most = self._options.max_api_calls
        if most is not None and self.calls >= most:
            raise budget_spent(most)
        self.rest()
        self.calls += 1

    def _note(self, raw: Raw) -> None:
        """Learn what is left of the day, and wait where nothing is left of the present ten seconds."""
        left, allowed = (_number(raw.headers.get(f"x-hubspot-ratelimit-daily{name}")) for name in ("-remaining", ""))
        if left is not None and allowed is not None:
            self.daily = (left, allowed)
        if _number(raw.headers.get("x-hubspot-ratelimit-remaining")) == 0:
            self._wait_until_s = time.monotonic() + interval_s(raw.headers)


def interval_s(headers: Mapping[str, str]) -> float:
    """How long HubSpot's short limit looks back, in seconds."""
    told = _number(headers.get("x-hubspot-ratelimit-interval-milliseconds"))
    return _INTERVAL_S if told is None else min(told / 1000, _INTERVAL_S)


_INTERVAL_S = 10.0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _as_it_is(sent: object) -> object:
    return sent


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _named(headers: Any) -> dict[str, str]:  # noqa: ANN401 - what the client gives
    return {str(name).lower(): str(value) for name, value in dict(headers or {}).items()}


def _bytes(content: object) -> bytes:
    return content if isinstance(content, bytes) else str(content or "").encode()
