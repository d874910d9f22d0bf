"""The Salesforce adapter: pip install 'crmbridge[salesforce]'."""

from importlib.util import find_spec

from crmbridge.errors import PluginError

if find_spec("simple_salesforce") is None:
    raise PluginError(
        "the Salesforce adapter needs simple-salesforce, which is not installed", hint="pip install 'crmbridge[salesforce]'"
    )


from crmbridge.adapters.salesforce.adapter import SalesforceAdapter
from crmbridge.adapters.salesforce.options import SalesforceOptions

__all__ = ["SalesforceAdapter", "SalesforceOptions"]
