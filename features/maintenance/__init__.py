"""Checking, repairing and pruning a feature set.

Checking and choosing only read. A repair or a prune that is killed at any instant leaves the committed state as it was.
"""
