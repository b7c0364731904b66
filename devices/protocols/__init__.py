"""The languages that both sides speak: the speaker link, fire panels (GB/T 26875.3), sensors. Bytes to values and back.

Pure, and strict in what is read: what does not fit is refused with a code. README.md is the speaker link in words,
asyncapi.yaml its schema.
"""
