"""What the roles are for: journeys, models, the gap ledger and ROI. Pure: no I/O, `as_of` is given."""
