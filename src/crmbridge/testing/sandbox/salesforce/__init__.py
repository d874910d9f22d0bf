"""A small Salesforce of the builder's own: what the org is, apart from how it is served."""
