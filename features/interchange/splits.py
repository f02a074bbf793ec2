"""What the partitions of a set are called where others read them."""

_USUAL = {"training": "train", "testing": "test"}


def split_name(partition: str) -> str:
    """Returns the name of a partition as a split: `train`, `validation`, `test`, or `fold_1` of `fold-1`.

    TensorFlow Datasets takes letters, digits, `_` and `-`, Hugging Face's datasets no `-`.
    """
    return _USUAL.get(partition, partition.replace("-", "_"))
