"""A cluster on this machine, to run soundmill's pipelines on an engine that is not Beam's own: Flink, or Spark.

It knows no Beam: a cluster is Java processes, and the options with which a command finds them. Each of its processes
carries a mark in its environment, and so does all that these start; by that mark they are found and ended, whatever
became of their parents.
"""
