"""Exact token-level modulation of free-form generation (method: psi-weighted prefixes)."""
