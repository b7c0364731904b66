"""From a report to an incident: joining, what updates and cancels refer to, silences, muting, places.

What is decided about an incident is in `domain`; here lies what it needs from the store and what follows for others.
Nothing is asked of anybody and nothing is said here: that is wanted by effects.
"""
