"""The version of jitrl."""

__version__ = "0.1.0"
