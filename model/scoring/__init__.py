"""From recordings to labels, without Beam: plan the windows, label them, keep the parts, join them to a CSV.

The CSV has the same bytes for any number of workers, and whenever the scoring was interrupted.
"""
