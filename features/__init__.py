"""Everything between an audio file and a shard of features: pure NumPy, SciPy and pyarrow.

Nothing in this package imports Beam or TensorFlow.
"""
