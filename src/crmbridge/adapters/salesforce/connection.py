"""One logged-in connection: queries, describes and plain REST, with everything that goes wrong in crmbridge's words."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import requests
from simple_salesforce.exceptions import SalesforceError

from crmbridge.adapters.salesforce import failures
from crmbridge.adapters.salesforce.failures import Refusal
from crmbridge.adapters.salesforce.login import log_in
from crmbridge.adapters.salesforce.options import Login
from crmbridge.adapters.salesforce.transport import Transport
from crmbridge.errors import CrmUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from simple_salesforce.api import Salesforce

    from crmbridge.adapters.salesforce.options import SalesforceOptions

_READS = 3
"""How often an answer that breaks off in the middle is asked for again."""
_REFUSED = 400
_URI_BYTES = 16_384
_HEADER_SLACK_BYTES = 768
"""For what is added on the way: host, user agent, cookies."""


class Connection:
    """Logs in on first use.

    Attributes:
        transport: what counts calls and knows the organisation's usage.
    """

    def __init__(self, options: SalesforceOptions) -> None:
        self.options = options
        self.transport = Transport(base_url=options.base_url, timeout_s=options.timeout_s, max_calls=options.max_api_calls)
        self._client: Salesforce | None = None

    @property
    def client(self) -> Salesforce:
        """The simple-salesforce client; logs in once.

        Raises:
            CrmRefused, CrmUnavailable, SettingsError: see `log_in`.
        """
        if self._client is None:
            self._client = log_in(self.options, self.transport)
            if self.options.login is not Login.ACCESS_TOKEN:
                self.transport.renew = self._renewed_token
        return self._client

    def query(self, soql: str, *, everything: bool = False) -> Iterator[dict[str, Any]]:
        """Give the pages of a query as Salesforce sends them; `everything` takes deleted and archived records too.

        Raises:
            Refusal: the query is refused, or its cursor has expired (INVALID_QUERY_LOCATOR).
            CrmUnavailable: no whole answer.
        """
        page = self.page(query_path(soql, everything=everything))
        given = len(page["records"])
        yield page
        while not page["done"]:
            page = self.page(further_path(page))
            given += len(page["records"])
            yield page
        if given != page["totalSize"]:
            raise CrmUnavailable(f"a query ended after {given} of {page['totalSize']} records")

    def page(self, path: str) -> dict[str, Any]:
        """Give one page of a query, by its path under `/services/data/vXX.X/`; raises like `query`."""

        def whole() -> dict[str, Any]:
            page = self.client.restful(path)
            if not is_page(page):
                raise ValueError("not a page of records")
            return cast("dict[str, Any]", page)

        with translated("a query"):
            page: dict[str, Any] = self._sound(whole)
        return page

    def records(self, soql: str, *, everything: bool = False) -> list[dict[str, Any]]:
        """Give all records of a small query; raises like `query`."""
        return [record for page in self.query(soql, everything=everything) for record in page["records"]]

    def get(self, path: str) -> Any:  # noqa: ANN401 - whatever JSON the resource holds
        """Give the JSON of a resource, by its path under `/services/data/vXX.X/`; raises like `query`."""
        return self._sound(lambda: json.loads(self.request("GET", path).content))

    def composite(self, parts: Sequence[Mapping[str, str]]) -> Any:  # noqa: ANN401 - the JSON of all answers
        """Give the answers to several readings in one call.

        Args:
            parts: of each its `url`, under `/services/data/vXX.X/`, and its `referenceId`.

        Raises:
            Refusal: the whole of it. CrmUnavailable: no whole answer.
        """
        home = urlsplit(self.client.base_url).path
        body = {"compositeRequest": [{**part, "method": "GET", "url": home + part["url"]} for part in parts]}
        return self._sound(lambda: json.loads(self.request("POST", "composite", body=body).content))

    def request(
        self, method: str, path: str, *, body: object = None, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send one request and give its answer, which is 2xx.

        Args:
            method: of HTTP.
            path: under `/services/data/vXX.X/`.
            body: to be sent as JSON.
            data: to be sent as it is, instead.
            headers: besides the usual ones.

        Raises:
            Refusal: 4xx. AnswerLost: something may have changed. CrmUnavailable: nothing has. LimitReached.
        """
        client = self.client
        with translated(f"{method} {path.partition('?')[0]}"):
            response = client.session.request(
                method,
                client.base_url + path,
                data=data if body is None else json.dumps(body).encode(),
                headers={**client.headers, **(headers or {})},
                allow_redirects=method == "GET",
            )
        if response.status_code >= _REFUSED:
            what = failures.told(method, response.url, response.headers)
            raise Refusal(what, response.status_code, failures.first_code(response.content))
        return response

    def room_for_ids(self, soql: str) -> int:
        """How many 15-character ids fit into the address of a query beside `soql`: address and headers share 16 KiB."""
        headers = sum(len(name) + len(value) + 4 for name, value in self.client.headers.items())
        left = _URI_BYTES - _HEADER_SLACK_BYTES - headers - len(self.client.base_url) - len(_in_address(soql))
        return max(left // len("'000000000000000',"), 1)

    def close(self) -> None:
        """Let go of the connections; may be called twice."""
        if self._client is not None:
            self._client.session.close()
        self.transport.close()
        self._client = None

    def _renewed_token(self) -> str:
        """Log in again, by a client of its own: the old one's headers are then replaced."""
        fresh = log_in(self.options, self.transport)
        client = self.client
        client.session_id, client.headers = fresh.session_id, fresh.headers
        fresh.session.close()
        token: str = fresh.session_id
        return token

    def _sound(self, fetch: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever is fetched
        """Fetch, again where what comes is not whole."""
        for _ in range(_READS):
            try:
                return fetch()
            except ValueError:  # JSON that breaks off, or is none
                continue
        raise CrmUnavailable("Salesforce's answers cannot be read: they are cut off, or not JSON") from None


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what simple-salesforce and requests raise into crmbridge's errors, without a word of the answer's body."""
    try:
        yield
    except SalesforceError as error:
        content = error.content if isinstance(error.content, bytes) else json.dumps(error.content).encode()
        refusal = Refusal(what, int(error.status), failures.first_code(content))
    except requests.RequestException as error:
        raise CrmUnavailable(f"Salesforce did not answer {what}: {type(error).__name__}") from None
    else:
        return
    raise refusal from None


def query_path(soql: str, *, everything: bool = False) -> str:
    """Where the first page of a query is."""
    # The address is built here: percent-encoding quotes and commas would halve the ids that fit in.
    return f"{'queryAll' if everything else 'query'}?q={_in_address(soql)}"


def further_path(page: Mapping[str, Any]) -> str:
    """Where the next page is."""
    return str(page["nextRecordsUrl"]).rpartition("/data/")[2].partition("/")[2]


def is_page(answer: object) -> bool:
    """Whether an answer is a page of records."""
    return isinstance(answer, dict) and isinstance(answer.get("records"), list) and "done" in answer


def _in_address(soql: str) -> str:
    """Escape what an address cannot hold, and leave alone what it can: letters, digits, quotes, commas, brackets."""
    return quote(soql, safe="'(),.:=!<>").replace("%20", "+")
