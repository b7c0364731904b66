"""What is decided, as values: `decide(row, event, now)` gives the new row and the effects.

No clock, no chance, no store, no network and no library but Python's own: the tests need nothing but values. Times are
µs UTC. A refusal is an exception of `refusals`, with a code and one sentence.
"""
