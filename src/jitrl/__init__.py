"""jitrl: agents on frozen language models that learn from their own experience at test time.

learner = jitrl.Learner(memory="zork.db")
with learner.episode(task="zork1") as episode:
    decision = episode.choose(jitrl.State(room="Kitchen"), [jitrl.Candidate("north", -0.7)])
    episode.record(reward=1.0)
"""

from jitrl import errors
from jitrl._version import __version__
from jitrl.learner import Learner, LiveEpisode
from jitrl.presets import PRESETS, Preset, Ramp
from jitrl.records import (
    Candidate,
    Decision,
    Episode,
    Experience,
    Modulation,
    Observation,
    Scores,
    Situation,
    State,
    Step,
    Turn,
)
from jitrl.similarity import Field

__all__ = [
    "PRESETS",
    "Candidate",
    "Decision",
    "Episode",
    "Experience",
    "Field",
    "Learner",
    "LiveEpisode",
    "Modulation",
    "Observation",
    "Preset",
    "Ramp",
    "Scores",
    "Situation",
    "State",
    "Step",
    "Turn",
    "__version__",
    "errors",
]
