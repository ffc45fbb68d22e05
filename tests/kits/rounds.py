"""How long the random rounds of the memory's tests are.

    JITRL_ROUNDS=20 make test PYTEST="--timeout=0 -k 'machine or damage or flipped or repair'"

makes them twenty times as long as in daily tests.
"""

from __future__ import annotations

import os

ROUNDS = int(os.environ.get("JITRL_ROUNDS", "1"))
