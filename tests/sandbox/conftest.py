"""A sandbox per test, plain requests against it, and the real client by way of one transport adapter."""

from urllib.parse import urlsplit

import pytest
import requests

from crmbridge.model import Entity
from crmbridge.testing import worlds
from crmbridge.testing.sandbox import SalesforceSandbox, Switches

VERSION = "62.0"


class Api:
    """Plain requests with a session that is open already."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {sandbox.session_id}"
        self.root = f"{sandbox.url}/services/data/v{VERSION}"

    def get(self, path, **kwargs):
        return self.session.get(self.root + path, **kwargs)

    def post(self, path, body, **kwargs):
        return self.session.post(self.root + path, json=body, **kwargs)

    def patch(self, path, body, **kwargs):
        return self.session.patch(self.root + path, json=body, **kwargs)

    def delete(self, path, **kwargs):
        return self.session.delete(self.root + path, **kwargs)

    def query(self, soql, *, which="query"):
        return self.get(f"/{which}", params={"q": soql})

    def records(self, soql, *, which="query"):
        """Every record of a query, without attributes."""
        page = self.query(soql, which=which).json()
        found = list(page["records"])
        while not page["done"]:
            page = self.session.get(self.sandbox.url + page["nextRecordsUrl"]).json()
            found += page["records"]
        return [{name: value for name, value in record.items() if name != "attributes"} for record in found]

    def add_roles(self, *roles, all_or_none=False):
        """Insert (opportunity, contact, role, is_primary) by one collection."""
        records = [
            {
                "attributes": {"type": "OpportunityContactRole"},
                "OpportunityId": opportunity,
                "ContactId": contact,
                "Role": role,
                "IsPrimary": is_primary,
            }
            for opportunity, contact, role, is_primary in roles
        ]
        return self.post("/composite/sobjects", {"allOrNone": all_or_none, "records": records})

    def remove(self, *ids):
        return self.delete("/composite/sobjects", params={"ids": ",".join(ids), "allOrNone": "false"})

    def roles(self, opportunity):
        """(contact, role, is_primary) of an opportunity's roles."""
        soql = f"SELECT ContactId, Role, IsPrimary FROM OpportunityContactRole WHERE OpportunityId = '{opportunity}'"
        rows = [(row["ContactId"], row["Role"], row["IsPrimary"]) for row in self.records(soql)]
        return sorted(rows, key=lambda row: (row[0], row[1] or "", row[2]))


class OverHttp(requests.adapters.HTTPAdapter):
    """Sends what the real client addresses to https://anything to the sandbox."""

    def __init__(self, url):
        super().__init__()
        self.url = url

    def send(self, request, **kwargs):
        parts = urlsplit(request.url)
        request.url = self.url + parts.path + (f"?{parts.query}" if parts.query else "")
        return super().send(request, **kwargs)


@pytest.fixture
def serve():
    """Start sandboxes; all stop after the test."""
    started = []

    def start(world=None, switches=None, **kwargs):
        sandbox = SalesforceSandbox(worlds.small() if world is None else world, switches or Switches(), **kwargs)
        sandbox.start()
        api = Api(sandbox)
        started.append(api)
        return api

    yield start
    for api in started:
        api.session.close()
        api.sandbox.stop()


@pytest.fixture
def api(serve):
    return serve()


@pytest.fixture
def ids(api):
    """Salesforce ids of the small world, by canonical id."""
    return Ids(api.sandbox)


class Ids:
    def __init__(self, sandbox):
        self.sandbox = sandbox

    def __call__(self, canonical_id):
        kind = canonical_id.rpartition("-")[0]
        return self.sandbox.sf_id({"role": Entity.CONTACT_ROLE}.get(kind) or Entity(kind), canonical_id)


@pytest.fixture
def real_client():
    """Make a simple-salesforce client for a sandbox."""
    simple_salesforce = pytest.importorskip("simple_salesforce")
    sessions = []

    def make(sandbox, **login):
        session = requests.Session()
        session.mount("https://", OverHttp(sandbox.url))
        sessions.append(session)
        return simple_salesforce.Salesforce(session=session, **({"version": VERSION} | login))

    yield make
    for session in sessions:
        session.close()
