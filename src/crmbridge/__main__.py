"""`python -m crmbridge`."""

from crmbridge.cli import main

main()
