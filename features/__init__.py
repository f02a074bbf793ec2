"""From an audio file to a shard of features: no Beam, no TensorFlow. The three commands lie beside the folders."""
