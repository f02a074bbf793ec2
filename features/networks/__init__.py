"""Trained networks that others have made, as files: read, named by their sha256, and run on windows of samples.

It knows files and processes, and nothing of features: which network a spec means is said above. Every batch has one
size and is computed by one thread, so that what a window gives does not depend on the others. TensorFlow is loaded in a
process of its own alone, `saved_model_process.py`.
"""
