"""Which clips of a feature set are most like one of them, or like a recording outside of it: no network, no TensorFlow.

Similarity is the cosine of the angle between two rows, and a row's is the same to the bit whatever shard it lies in.
"""
