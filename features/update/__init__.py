"""What has changed since the committed state, which shards to build, and building one.

A plan follows from the clips and the state. A unit that is finished is left as it is: a run that was killed resumes.
"""
