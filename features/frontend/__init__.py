"""From samples to features: the spec, and all that changes a value.

It knows no sources and no sets. A clip's values are the same to the bit whatever batch it came in.
"""
