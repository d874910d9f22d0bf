"""The Salesforce adapter keeps the contract, by REST and collections and by the Bulk API."""

from typing import ClassVar

import pytest
from orgs import RECENTLY, crm_id, options

from crmbridge.adapters.salesforce import SalesforceAdapter
from crmbridge.testing import AdapterConformance
from crmbridge.testing.sandbox import SalesforceSandbox

DAYS = ("converted_at", "responded_at")


class SalesforceKit(AdapterConformance):
    adapter_class = SalesforceAdapter
    chosen: ClassVar[dict] = {}

    def setup_method(self):
        super().setup_method()
        self.sandboxes = []

    def teardown_method(self):
        super().teardown_method()
        for sandbox in self.sandboxes:
            sandbox.stop()

    def load(self, world):
        sandbox = SalesforceSandbox(world)
        sandbox.start()
        self.sandboxes.append(sandbox)
        return options(sandbox, **self.chosen)

    def crm_id(self, entity, text):
        return crm_id(entity, text)

    def fit(self, record):
        """As Salesforce holds it: some moments as days only, and deletions of the last days only."""
        days = {name: getattr(record, name) for name in DAYS if getattr(record, name, None)}
        changes = {name: moment.replace(hour=12, minute=0, second=0) for name, moment in days.items()}
        changes |= {"modified_at": RECENTLY} if getattr(record, "is_deleted", None) else {}
        return record.model_copy(update=changes)


class TestSalesforceByRest(SalesforceKit):
    pass


@pytest.mark.slow
class TestSalesforceByBulk(SalesforceKit):
    chosen: ClassVar[dict] = {"bulk_read_rows": 1, "bulk_write_rows": 1}
    many_rows = 300
    most_writes = 300
