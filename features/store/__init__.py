"""The feature set on disk: its files, its states, its commit.

It knows clips and specs, and builds nothing. A set changes its state by one atomic rename, last; every format version
ever written stays readable.
"""
