"""The shop and its admin, one database, two sites."""
