"""What runs on Apache Beam: the only files that import it.

A transform hands numbers of units to a pure function of `features` or `model`; tensors never cross a stage.
"""
