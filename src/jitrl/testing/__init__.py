"""Conformance kits: whoever writes an adapter runs the one for its contract, and knows."""

from jitrl.testing.stores import check_store
from jitrl.testing.worlds import check_world

__all__ = ["check_store", "check_world"]
