"""Plain requests against a HubSpot sandbox."""

from __future__ import annotations

import requests

V4 = "/crm/v4/associations/deals/contacts"
OBJECTS = "/crm/v3/objects"


class PortalClient:
    """Sends whatever it is told to, with a good token."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self._session = requests.Session()

    def get(self, path, **query):
        return self._session.get(self.sandbox.url + path, params=query, headers=self._headers(), timeout=10)

    def post(self, path, body):
        return self._session.post(self.sandbox.url + path, json=body, headers=self._headers(), timeout=10)

    def inputs(self, action, *inputs, home=V4):
        """A batch on the links between deals and contacts."""
        return self.post(f"{home}/batch/{action}", {"inputs": list(inputs)})

    def create(self, deal, contact, *numbers, home=V4):
        """Link a pair, with labels by their numbers."""
        return self.inputs("create", given(deal, contact, *numbers), home=home)

    def search(self, kind, *filters, **more):
        """Records by one group of filters."""
        return self.post(f"{OBJECTS}/{kind}/search", {"filterGroups": [{"filters": list(filters)}], **more})

    def close(self):
        self._session.close()

    def _headers(self):
        return {"Authorization": f"Bearer {self.sandbox.access_token}"}


def given(deal, contact, *numbers):
    """One input of batch/create or batch/labels/archive."""
    types = [{"associationCategory": "USER_DEFINED", "associationTypeId": number} for number in numbers]
    return {"from": {"id": deal}, "to": {"id": contact}, "types": types}
