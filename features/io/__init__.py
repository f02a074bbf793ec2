"""Files that appear whole or not at all, and the formats of files that know nothing of sound.

It knows `features.errors` alone. What a function here writes stands under its name when it is complete, and not before.
"""
