"""Conformance kits, and a language-model server for tests.

Whoever writes an adapter runs the kit for its contract, and knows. `ScriptedServer` speaks the
OpenAI protocol on this machine, with known probabilities and faults on demand.
"""

from jitrl.testing.brains import Brain, Choosing, Fixed, characters, words
from jitrl.testing.governance import check_governance
from jitrl.testing.models import check_model
from jitrl.testing.obliging import obliging
from jitrl.testing.scores import check_scores
from jitrl.testing.server import ABLE, Fault, Received, ScriptedServer
from jitrl.testing.stores import check_store
from jitrl.testing.worlds import check_world

__all__ = [
    "ABLE",
    "Brain",
    "Choosing",
    "Fault",
    "Fixed",
    "Received",
    "ScriptedServer",
    "characters",
    "check_governance",
    "check_model",
    "check_scores",
    "check_store",
    "check_world",
    "obliging",
    "words",
]
