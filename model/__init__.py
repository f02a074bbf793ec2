"""The network: data sets, training, evaluation, the artifact. Nothing in this package imports Beam."""
