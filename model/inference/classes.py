"""Classes that name nothing."""

UNKNOWN, SILENCE = "_unknown_", "_silence_"
NOT_NAMED = (UNKNOWN, SILENCE)
"""A window of theirs is none of what the network is asked for."""
