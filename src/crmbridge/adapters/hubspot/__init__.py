"""The HubSpot adapter: pip install 'crmbridge[hubspot]'."""

from importlib.util import find_spec

from crmbridge.errors import PluginError

if find_spec("hubspot") is None:
    raise PluginError(
        "the HubSpot adapter needs hubspot-api-client, which is not installed", hint="pip install 'crmbridge[hubspot]'"
    )

from crmbridge.adapters.hubspot.adapter import HubSpotAdapter
from crmbridge.adapters.hubspot.options import HubSpotOptions

__all__ = ["HubSpotAdapter", "HubSpotOptions"]
