"""Adapters: the registry that finds them by entry point, and the ones that ship with crmbridge."""
