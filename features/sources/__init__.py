"""Which clips there are: folders, tables, labels, groups, partitions, contents, rejects.

It knows no spec. What is listed follows from the files and the options, not from the order of a disk or a clock.
"""
