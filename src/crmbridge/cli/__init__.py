"""The command line: what the terminal sees of `crmbridge.bridge`. Nothing is decided here."""

from crmbridge.cli.app import main

__all__ = ["main"]
