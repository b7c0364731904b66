"""The only writer. `Engine.handle` loads, decides and saves in one transaction; what is no event has functions with a
transaction of their own. Both open it with `writing.write`, which nobody outside this package may import.

Rooms: `signals` (what is reported and which incident it belongs to), `tasks` (who is asked), `air` (what is said, and
what speakers answer), `sources` (feeds, panels and sensors themselves). A room may use those before it in this list and
what lies beside them here, never the engine itself. No network, no file, no library; the domain decides.
"""
