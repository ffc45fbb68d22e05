"""Property tests are reproducible: the same examples on every machine, and no clock.

Ctrl-C reaches the processes that tests start, also where the tests run in the background of a shell
that lets its children ignore it.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile(
    "deterministic",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("deterministic")
