"""A trained network as it is kept and run.

Probabilities of a clip are the same whatever batch it came in, in whatever process and thread.
"""
