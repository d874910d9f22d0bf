"""Whole CRMs on the loopback address, to test adapters against and to rehearse on. Needs starlette and uvicorn."""

from crmbridge.testing.sandbox.hubspot.faults import HubSpotFault, HubSpotTrouble, PairFault
from crmbridge.testing.sandbox.hubspot.sandbox import HubSpotSandbox
from crmbridge.testing.sandbox.hubspot.switches import HubSpotSwitches
from crmbridge.testing.sandbox.salesforce.faults import Fault, RowFault, Trouble
from crmbridge.testing.sandbox.salesforce.login import Credentials
from crmbridge.testing.sandbox.salesforce.sandbox import SalesforceSandbox
from crmbridge.testing.sandbox.salesforce.switches import Switches

__all__ = [
    "Credentials",
    "Fault",
    "HubSpotFault",
    "HubSpotSandbox",
    "HubSpotSwitches",
    "HubSpotTrouble",
    "PairFault",
    "RowFault",
    "SalesforceSandbox",
    "Switches",
    "Trouble",
]
