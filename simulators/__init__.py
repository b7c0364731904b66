"""A city that is not there: speakers, panels, people and faults on one virtual clock, drills, and benchmarks.

The world is deterministic: a seed plays the same day again. `checks` hold what happened against the laws and know
nothing of how the product comes to it.
"""
