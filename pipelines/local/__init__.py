"""What runs a job's units on this machine, without Beam: in this process, or in worker processes.

A unit is done by an object that takes one unit after the other (`units.Worker`), the same one that a DoFn of
`pipelines.beam` hands over to on a runner that is named: so a shard has the same bytes wherever it was built.
"""
