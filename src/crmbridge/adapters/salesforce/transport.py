"""The one way out: every request of the adapter, simple-salesforce's too, passes through this transport.

It sends to `base_url` where one is set, waits no longer than told, counts calls against the budget, renews the session
once, and asks again where asking again is safe. A request that changes something is never sent twice unless Salesforce
surely did not take the first: then the answer counts as lost, and reading back decides.
"""

from __future__ import annotations

import re
import ssl
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import HTTPAdapter
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, SSLError

from crmbridge.adapters.salesforce import failures
from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 5
_CONNECT_TIMEOUT_S = 15.0
_LONGEST_WAIT_S = 60.0
_BACK_OFF = wait_exponential(multiplier=0.5, max=20) + wait_random(0, 0.5)
_UNAUTHORISED, _FORBIDDEN, _TOO_MANY, _SERVER_ERROR = 401, 403, 429, 500
_USAGE = re.compile(r"api-usage=(\d+)/(\d+)")
_DATA = "/services/data/"
# What may be asked again although its answer was lost: a second login or query job harms nobody.
_REPEATABLE_POSTS = re.compile(r"/services/oauth2/token$|/services/Soap/u/|/jobs/query$|/composite/?$")


class _TryAgain(Exception):
    """Nothing was done, or nothing that matters: the same request may go out again."""

    def __init__(self, reason: str, after_s: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


class Transport(HTTPAdapter):
    """Mounted on the session for all addresses.

    Args:
        base_url: where everything goes instead; None for where it is addressed.
        timeout_s: for one answer.
        max_calls: see `SalesforceOptions.max_api_calls`.

    Attributes:
        renew: gives a new access token; None where the login cannot be repeated.
        calls: calls that Salesforce counts, so far.
        usage: (used, allowed) of the organisation in 24 hours, as of the last answer.
        lost_s: `time.monotonic()` of the last request whose answer was lost.
    """

    def __init__(self, *, base_url: str | None, timeout_s: float, max_calls: int | None) -> None:
        super().__init__(max_retries=0)
        self._base = urlsplit(base_url) if base_url else None
        self._timeout = (min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s)
        self._max_calls = max_calls
        self.renew: Callable[[], str] | None = None
        self.calls = 0
        self.usage: tuple[int, int] | None = None
        self.lost_s: float | None = None

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:  # noqa: ANN401
        """Send, and answer with whatever a caller can use: 2xx, or a refusal of this very request.

        Raises:
            LimitReached: the budget or the daily limit is used up.
            AnswerLost: the request may have changed something, and nobody knows.
            CrmUnavailable: nothing changed, and no answer was to be had.
            Refusal: the session is over and cannot be renewed.
        """
        options = {name: options[name] for name in ("verify", "cert", "proxies") if name in options}
        self._aim(request)
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgain),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            sleep=time.sleep,
            reraise=True,
        )
        try:
            return retrying(self._once, request, options)
        except _TryAgain as given_up:
            reason = given_up.reason
        what = failures.told(request.method, request.url)
        raise CrmUnavailable(f"Salesforce did not answer {what}: {reason}", hint="run the same command again")

    def _once(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        response = self._exchange(request, options)
        if response.status_code == _UNAUTHORISED and _is_data(request):
            response = self._renewed(request, response, options)
        self._note_usage(response)
        self._refuse_unusable(request, response)
        return response

    def _exchange(self, request: requests.PreparedRequest, options: dict[str, Any]) -> requests.Response:
        """One request out, one whole answer in."""
        self._spend(request)
        lost = None
        try:
            response = super().send(request, stream=False, timeout=self._timeout, **options)
            _ = response.content  # a body that breaks off must break off here, not in a caller's hands
        except (requests.RequestException, OSError) as error:
            lost, unsent = type(error).__name__, _is_unsent(error)
        if lost is None:
            return response
        if unsent or _is_repeatable(request):
            raise _TryAgain(lost)
        raise self._lost(request, lost)

    def _renewed(
        self, request: requests.PreparedRequest, response: requests.Response, options: dict[str, Any]
    ) -> requests.Response:
        """Log in again and send again: what was answered with 401 was not done."""
        if self.renew is not None:
            request.headers["Authorization"] = f"Bearer {self.renew()}"
            response = self._exchange(request, options)
        if response.status_code == _UNAUTHORISED:
            what = failures.told(request.method, request.url, response.headers)
            raise failures.Refusal(what, _UNAUTHORISED, failures.first_code(response.content))
        return response

    def _refuse_unusable(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        status = response.status_code
        if status == _FORBIDDEN:
            self._refuse_limit(request, response)
        elif status == _TOO_MANY:
            raise _TryAgain(str(status), _retry_after_s(response))
        elif (status >= _SERVER_ERROR and not _is_soap_fault(response)) or _is_web_page(response):
            if not _is_repeatable(request):
                raise self._lost(request, str(status))
            raise _TryAgain(str(status), _retry_after_s(response))

    def _refuse_limit(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        for code, message in failures.codes_in(response.content):
            if code == failures.REQUEST_LIMIT:
                if message.startswith("Concurrent"):  # too many long calls at this moment, not on this day
                    raise _TryAgain(code)
                raise failures.limit_reached(failures.told(request.method, request.url))

    def _lost(self, request: requests.PreparedRequest, reason: str) -> failures.AnswerLost:
        self.lost_s = time.monotonic()
        return failures.AnswerLost(failures.told(request.method, request.url), reason)

    def _spend(self, request: requests.PreparedRequest) -> None:
        if not _is_data(request):
            return
        if self._max_calls is not None and self.calls >= self._max_calls:
            raise failures.budget_spent(self._max_calls)
        self.calls += 1

    def _note_usage(self, response: requests.Response) -> None:
        found = _USAGE.search(response.headers.get("Sforce-Limit-Info", ""))
        if found:
            self.usage = (int(found[1]), int(found[2]))

    def _aim(self, request: requests.PreparedRequest) -> None:
        request.headers.pop("X-PrettyPrint", None)  # indentation is a third of the bytes
        request.headers["Accept-Encoding"] = "gzip"  # the Bulk API compresses for this very value only
        if self._base is None or request.url is None:
            return
        parts = urlsplit(request.url)
        path = self._base.path + parts.path
        request.url = urlunsplit((self._base.scheme, self._base.netloc, path, parts.query, ""))


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.after_s if isinstance(error, _TryAgain) else 0
    return min(max(asked_s, _BACK_OFF(state)), _LONGEST_WAIT_S)


def _retry_after_s(response: requests.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdigit() else 0


def _path(request: requests.PreparedRequest) -> str:
    return urlsplit(request.url or "").path


def _is_data(request: requests.PreparedRequest) -> bool:
    return _DATA in _path(request)


def _is_repeatable(request: requests.PreparedRequest) -> bool:
    """Whether sending it twice does no more than sending it once; `/composite` is used for reading only."""
    if request.method in ("GET", "HEAD"):
        return True
    if request.method == "POST":
        return _REPEATABLE_POSTS.search(_path(request)) is not None
    # A job's state can only be set once; setting it again is refused, which does no harm.
    return request.method == "PATCH" and "/jobs/" in _path(request)


def _is_web_page(response: requests.Response) -> bool:
    return response.ok and response.headers.get("Content-Type", "").startswith("text/html")


def _is_soap_fault(response: requests.Response) -> bool:
    """SOAP says no with 500: that is an answer."""
    return response.status_code == _SERVER_ERROR and response.headers.get("Content-Type", "").startswith("text/xml")


def _is_unsent(error: BaseException) -> bool:
    """Whether the connection was never made, so that nothing can have been sent over it."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    reason = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    if isinstance(reason, SSLError):
        # TLS may break at any moment, also while the answer is read; only whom it does not trust it tells nothing.
        return bool(reason.args) and isinstance(reason.args[0], ssl.SSLCertVerificationError)
    return isinstance(reason, NewConnectionError | ConnectTimeoutError)
