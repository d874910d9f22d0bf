"""One connection: who may be asked again, how long to wait, and everything that goes wrong in crmbridge's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from crmbridge.adapters.hubspot.failures import AnswerLost, Refusal, limit_reached, parsed, refused, told
from crmbridge.adapters.hubspot.paths import TOKEN, Paths
from crmbridge.adapters.hubspot.transport import NoAnswer, Raw, Transport, interval_s
from crmbridge.errors import CrmUnavailable, DataError

if TYPE_CHECKING:
    from crmbridge.adapters.hubspot.options import HubSpotOptions

ATTEMPTS = 6
_LONGEST_WAIT_S = 60.0
_LOCK_WAIT_S = 2.0
_BACK_OFF = wait_exponential(multiplier=0.25, max=20) + wait_random(0, 0.25)
_UNAUTHORISED, _LOCKED, _TOO_MANY, _MIGRATING, _SERVER_ERROR = 401, 423, 429, 477, 500
_OK, _NO_CONTENT = range(200, 300), 204
_DAILY = re.compile(r"DAILY", re.IGNORECASE)
_SECONDLY, _SECOND_S = re.compile(r"\bSECONDLY\b", re.IGNORECASE), 1.0
"""The limit of searches, whose answers do not say how long it looks back."""


class _TryAgain(Exception):
    """Nothing was done, or nothing that matters: the same request may go out again."""

    def __init__(self, reason: str, after_s: float = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s


class _Told(dict[str, Any]):
    """An answer; what it should hold and does not is an error in crmbridge's words."""

    def __init__(self, found: Mapping[str, Any], what: str) -> None:
        super().__init__(found)
        self._what = what

    def __missing__(self, key: str) -> Any:  # noqa: ANN401 - never
        raise DataError(f"HubSpot's answer to {self._what} has no {key!r}")


@dataclass(frozen=True, slots=True)
class Answer:
    """What HubSpot said to a write: the status, and the JSON; None where there is none."""

    status: int
    body: Any


class Connection:
    """Connects on first use.

    Attributes:
        options: as given.
        paths: of the family that the options name.
    """

    def __init__(self, options: HubSpotOptions) -> None:
        self.options = options
        self.paths = Paths(options.api)
        self._transport: Transport | None = None

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        return self._transport.calls if self._transport else 0

    @property
    def daily(self) -> tuple[int, int] | None:
        """What is left of the portal's daily limit, and the limit; None where HubSpot did not say."""
        return self._transport.daily if self._transport else None

    def ask(self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: object = None) -> Any:  # noqa: ANN401
        """Read: GET, or a POST that changes nothing; asked again as often as is sensible.

        Returns:
            The JSON of the answer.

        Raises:
            Refusal: 4xx.
            CrmUnavailable: no whole answer. LimitReached: the day's calls are used up.
        """
        what = told(method, path)

        def once() -> Any:  # noqa: ANN401
            try:
                raw = self._exchange(method, path, query=query, body=body)
            except NoAnswer as lost:
                raise _TryAgain(lost.reason) from None
            self._refuse_passing(raw, what)
            if raw.status >= _SERVER_ERROR:
                raise _TryAgain(str(raw.status), _retry_after_s(raw))
            found = parsed(raw.content)
            if raw.status not in _OK:
                raise refused(what, raw.status, found)
            if not isinstance(found, dict):
                raise _TryAgain("an answer that is cut off, or no object of JSON")
            return _Told(found, what)

        return self._retried(once, what)

    def send(self, method: str, path: str, *, body: object, again: Callable[[], object] | None = None) -> Answer:
        """Write: sent again only where HubSpot surely did nothing the first time.

        Args:
            method: of HTTP.
            path: under `base_url`.
            body: to be sent as JSON.
            again: gives the body anew where time has passed since it was made, for people change things meanwhile; None where
                nothing is left to be sent. Whatever it raises is passed on.

        Raises:
            Refusal: 4xx, nothing was done.
            AnswerLost: nobody knows.
            CrmUnavailable: nothing was sent. LimitReached: nor will anything be.
        """
        what = told(method, path)
        is_late = False

        def once() -> Answer:
            nonlocal body, is_late
            is_late |= self._rested()
            if is_late and again is not None:
                body = again()
                if body is None:
                    return Answer(_NO_CONTENT, None)
            is_late = True
            try:
                raw = self._exchange(method, path, body=body)
            except NoAnswer as lost:
                if lost.is_unsent:
                    raise _TryAgain(lost.reason) from None
                raise AnswerLost(what, lost.reason) from None
            self._refuse_passing(raw, what)
            found = parsed(raw.content)
            if raw.status >= _SERVER_ERROR or (raw.status in _OK and raw.status != _NO_CONTENT and raw.content and found is None):
                raise AnswerLost(what, str(raw.status))
            if raw.status not in _OK:
                raise refused(what, raw.status, found)
            return Answer(raw.status, found)

        answer: Answer = self._retried(once, what)
        return answer

    def pages(self, path: str, query: Mapping[str, object]) -> Iterator[Any]:
        """Give the pages of a listing, following `paging.next.after`; raises like `ask`."""
        after: str | None = None
        while True:
            # The cursor is told as it stands in the link to the next page: encoded, which the client does anew.
            page = self.ask("GET", path, query={**query, **({"after": unquote(after)} if after else {})})
            yield page
            after = next_page(page)
            if after is None:
                return

    def close(self) -> None:
        """Let go of the connections; may be called twice."""
        if self._transport is not None:
            self._transport.close()
        self._transport = None

    def _rested(self) -> bool:
        """Wait where nothing is left of the present ten seconds; whether that was so."""
        return self._transport is not None and self._transport.rest()

    def _exchange(self, method: str, path: str, *, query: Mapping[str, object] | None = None, body: object = None) -> Raw:
        """One request, and once more with a new token where the old one is over: what was answered with 401 was not done."""
        if self._transport is None:
            self._transport = self._opened()
        raw = self._transport.exchange(method, path, query=query, body=body)
        if raw.status == _UNAUTHORISED and self.options.refresh_token is not None:
            self._transport.renew(self._fetched_token(self._transport))
            raw = self._transport.exchange(method, path, query=query, body=body)
        return raw

    def _opened(self) -> Transport:
        given = self.options.access_token
        transport = Transport(self.options, given.get_secret_value() if given else "")
        if given is None:
            transport.renew(self._fetched_token(transport))
        return transport

    def _fetched_token(self, transport: Transport) -> str:
        """A new access token by OAuth; asking twice harms nobody."""
        options = self.options
        if options.client_secret is None or options.refresh_token is None or options.client_id is None:
            raise CrmUnavailable("the login cannot be renewed")
        form = {
            "grant_type": "refresh_token",
            "client_id": options.client_id,
            "client_secret": options.client_secret.get_secret_value(),
            "refresh_token": options.refresh_token.get_secret_value(),
        }
        what = told("POST", TOKEN)

        def once() -> str:
            try:
                raw = transport.exchange("POST", TOKEN, form=form)
            except NoAnswer as lost:
                raise _TryAgain(lost.reason) from None
            self._refuse_passing(raw, what)
            found = parsed(raw.content)
            if raw.status >= _SERVER_ERROR or (raw.status in _OK and not isinstance(found, dict)):
                raise _TryAgain(str(raw.status))
            if raw.status not in _OK:
                raise self._shut_out(refused(what, raw.status, found))
            return str(_Told(found, what)["access_token"])

        token: str = self._retried(once, what)
        return token

    @staticmethod
    def _shut_out(refusal: Refusal) -> Refusal:
        """Whatever its status, who gets no token is not let in at all: nothing is learnt about single scopes."""
        refusal.status = _UNAUTHORISED
        refusal.hint = "check client_id, client_secret and refresh_token"
        return refusal

    def _refuse_passing(self, raw: Raw, what: str) -> None:
        """Whatever passes: limits, locks, moves. HubSpot did nothing."""
        if raw.status == _TOO_MANY:
            body = parsed(raw.content)
            policy = str(body.get("policyName") or body.get("message") or "") if isinstance(body, dict) else ""
            if _DAILY.search(policy):
                raise limit_reached(what)
            short_s = _SECOND_S if _SECONDLY.search(policy) else interval_s(raw.headers)
            raise _TryAgain(str(raw.status), _retry_after_s(raw) or short_s)
        if raw.status == _LOCKED:
            raise _TryAgain(str(raw.status), max(_retry_after_s(raw), _LOCK_WAIT_S))
        if raw.status == _MIGRATING:
            raise _TryAgain(str(raw.status), _retry_after_s(raw) or _LOCK_WAIT_S)

    def _retried(self, once: Any, what: str) -> Any:  # noqa: ANN401 - whatever is fetched
        retrying = Retrying(retry=retry_if_exception_type(_TryAgain), stop=stop_after_attempt(ATTEMPTS), wait=_wait, reraise=True)
        try:
            return retrying(once)
        except _TryAgain as given_up:
            reason = given_up.reason
        raise CrmUnavailable(f"HubSpot did not answer {what}: {reason}", hint="run the same command again")


def next_page(page: Any) -> str | None:  # noqa: ANN401 - JSON
    """The cursor of the page after this one."""
    after = ((page.get("paging") or {}).get("next") or {}).get("after")
    return None if after is None else str(after)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.after_s if isinstance(error, _TryAgain) else 0.0
    return min(max(asked_s, _BACK_OFF(state)), _LONGEST_WAIT_S)


def _retry_after_s(raw: Raw) -> float:
    text = raw.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 0.0
