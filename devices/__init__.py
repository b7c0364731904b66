"""What hangs on a pole: the loudspeaker, the protocol that it speaks, and the check of a maker's own.

It can be installed without the services, and uses nothing of them.
"""
