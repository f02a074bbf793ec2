"""How a command runs: options, exit codes, messages, progress, processes.

It knows files and nothing of sound. What it says goes to the log or to standard error.
"""
