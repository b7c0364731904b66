"""From a draft to the proof that it was heard: drafts, releases, streams, keys, receipts, and what speakers say that
nobody gave out.

Only `streams` signs, and only after it has looked at the releases once more. What goes over a wire is an effect; no
module here knows MQTT.
"""
