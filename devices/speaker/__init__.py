"""One loudspeaker. `machine` is pure: what it holds, an event and the time give what it holds now and what it does.

Around it lie the journal, the link to the broker, the rendering and the sound card. Nothing here knows how a release
comes about; what is signed by a listed key is obeyed, and nothing else.
"""
