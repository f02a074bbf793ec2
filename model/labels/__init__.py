"""From windows and their probabilities to files: labels as CSV, Parquet or JSON lines, whole or not at all.

Nothing here decodes, runs a network or knows a plan. Functions take windows as columns (`WindowRows`), in the order of
the output, and what they write follows from these alone, however they lie in pieces.
"""
