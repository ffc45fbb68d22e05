"""Runs that can be killed and continued, and what they say: folders, runner, statistics, report."""
