"""Rows, epochs, checkpoints and the run folder.

The order of rows follows from a seed and the number of the epoch; a training that was killed resumes to the same bits.
"""
