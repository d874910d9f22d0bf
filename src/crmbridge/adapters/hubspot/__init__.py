"""The HubSpot adapter; needs the extra `crmbridge[hubspot]`."""
