"""A HubSpot portal on the loopback address."""
