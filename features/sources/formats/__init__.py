"""What other libraries publish, read as clips: Hugging Face's audiofolder, Lhotse's and NeMo's manifests, annotations.

Each format becomes rows, which the code of tables makes clips of, or labels of windows of recordings.
"""
