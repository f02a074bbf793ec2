"""Apache Beam and the commands that run on it. Only this package imports Beam."""
