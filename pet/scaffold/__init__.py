"""First task files for new data."""
