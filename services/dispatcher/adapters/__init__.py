"""One module for each thing outside: the database, the broker, Redis, panels' lines, files, ffmpeg, the signer's keys.

An adapter speaks the other side's language and hands on values of the engine's ports; it decides nothing, and it opens
no write transaction. What comes in is bounded in bytes and time before it is looked at.
"""
