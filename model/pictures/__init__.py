"""Drawings of a run: the one folder of `model` that imports matplotlib."""
