"""Just-in-time reinforcement learning: what is remembered shifts logits, as its preset says."""

from jitrl.agents.arms import Arm

ARM = Arm()
