"""`tocsin conformance`: plays a dispatcher to a maker's loudspeaker and says what it does otherwise than the link asks.

It sees only the broker and the sound; it knows nothing of our own speaker.
"""
