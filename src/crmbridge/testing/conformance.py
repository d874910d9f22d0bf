"""The conformance kit: subclass `AdapterConformance`, write `load`, run pytest."""

from __future__ import annotations

from crmbridge.testing.declaring import DeclaringChecks
from crmbridge.testing.discretion import DiscretionChecks
from crmbridge.testing.reading import ReadingChecks, RoleReadingChecks
from crmbridge.testing.settling import SettlingChecks
from crmbridge.testing.writing import PutChecks, ReceiptChecks, RemoveChecks


class AdapterConformance(
    DeclaringChecks,
    ReadingChecks,
    RoleReadingChecks,
    PutChecks,
    RemoveChecks,
    ReceiptChecks,
    SettlingChecks,
    DiscretionChecks,
):
    """Every sentence of the contract, as one test each.

    A whole suite for an adapter::

        class TestMyCrm(AdapterConformance):
            adapter_class = MyAdapter

            def load(self, world):
                folder = self.new_folder()
                fill_my_crm(folder, world)
                return MyOptions(path=folder / "crm.db")

    Attributes:
        adapter_class: the adapter under test; opened many times with the options that `load` returns.
        many_rows: contacts of the largest world that is read; raise it above your CRM's page size.
        most_writes: the most writes of one call, where twice `writes_per_call` is more than your test CRM can take.

    Override `crm_id` where your CRM's ids have a form of their own. What a CRM cannot do is skipped by its
    `capabilities` alone.
    """
