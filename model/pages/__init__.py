"""Pages to look at and listen to: a model and its mistakes, a scoring and its events, in one file of HTML each.

A page is whole: its pictures, sounds, scripts and styles are in it, and a policy in it forbids requests. What comes
from a file's name or a label is text everywhere. This folder knows evaluation and what stands before it, and neither
Beam nor the commands.
"""
