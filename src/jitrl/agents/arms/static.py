"""The bare agent: it carries nothing. What every other arm is compared with."""

from jitrl.agents.arms import Arm

ARM = Arm(stores=False, moves=False)
