"""Evidence: what the snapshot says about who took part in an opportunity."""
