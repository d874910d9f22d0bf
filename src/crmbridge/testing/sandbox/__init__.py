"""Whole CRMs on the loopback address, to test adapters against and to rehearse on. Needs starlette and uvicorn."""

from crmbridge.testing.sandbox.salesforce.faults import Fault, RowFault, Trouble
from crmbridge.testing.sandbox.salesforce.login import Credentials
from crmbridge.testing.sandbox.salesforce.sandbox import SalesforceSandbox
from crmbridge.testing.sandbox.salesforce.switches import Switches

__all__ = ["Credentials", "Fault", "RowFault", "SalesforceSandbox", "Switches", "Trouble"]
