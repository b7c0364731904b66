"""The API for the console, for offices and for departments' pushes: who may ask, what they are shown, and what they are
told when it can't be.

A route reads through `engine.queries`, hands an event to the engine, and answers with a view. It decides nothing and
writes nothing. Every refusal has its sentence in `problems`.
"""
