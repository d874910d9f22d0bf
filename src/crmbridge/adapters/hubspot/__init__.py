"""The HubSpot adapter; needs the extra `crmbridge[hubspot]`."""

from crmbridge.adapters.hubspot.adapter import HubSpotAdapter
from crmbridge.adapters.hubspot.options import HubSpotOptions

__all__ = ["HubSpotAdapter", "HubSpotOptions"]
