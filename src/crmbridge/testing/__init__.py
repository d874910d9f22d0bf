"""For authors of adapters: the conformance kit, small worlds to load, a CRM in memory. Needs pytest, nothing else."""

from crmbridge.testing.conformance import AdapterConformance
from crmbridge.testing.kept import KeptRecords
from crmbridge.testing.memory import MemoryAdapter, MemoryBulkAdapter, MemoryCrm, MemoryOptions
from crmbridge.testing.worlds import World

__all__ = ["AdapterConformance", "KeptRecords", "MemoryAdapter", "MemoryBulkAdapter", "MemoryCrm", "MemoryOptions", "World"]
