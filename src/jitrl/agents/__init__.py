"""Agents that play a world with a learner."""
