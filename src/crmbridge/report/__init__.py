"""The report: one self-contained page, and every table as a file."""
