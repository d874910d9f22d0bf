"""The adapters in memory keep the contract, in every shape their options give them."""

from crmbridge.model import ESSENTIAL
from crmbridge.testing import AdapterConformance, MemoryAdapter, MemoryBulkAdapter, MemoryCrm, MemoryOptions


class TestMemory(AdapterConformance):
    adapter_class = MemoryAdapter

    def load(self, world):
        return MemoryOptions(crm=MemoryCrm(world))


class TestMemoryBulk(AdapterConformance):
    adapter_class = MemoryBulkAdapter

    def load(self, world):
        return MemoryOptions(crm=MemoryCrm(world), writes_per_call=4)


class TestBareMemory(AdapterConformance):
    """The least a CRM can be: three entities, a short list of roles, no primary, ids of its own form."""

    adapter_class = MemoryAdapter

    def load(self, world):
        crm = MemoryCrm(world)
        return MemoryOptions(crm=crm, role_names=("Buyer",), entities=ESSENTIAL, has_primary=False)

    def crm_id(self, entity, text):
        return f"{entity}/{text.encode().hex()}"
