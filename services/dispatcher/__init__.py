"""The dispatcher: from what departments and sensors report to what loudspeakers say, and the proof that they said it.

`domain` decides, `feeds` read, `engine` writes, `adapters` touch the outside, `web` is the API, and `processes` put it
together and run it. docs/architecture.md has the picture; the contracts in pyproject.toml hold who may use whom.
"""
