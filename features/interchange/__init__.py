"""A feature set laid out for the libraries of others: layouts, their files, and the dataset card that comes along.

It may know all of `features` below the commands, and imports none of these libraries: what they read is written by
hand, and tests read it with them. What it writes is a folder that is whole or not there.
"""
