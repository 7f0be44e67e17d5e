"""The contract of baselines: what a file in baselines/ has to keep, as a list of checks.

``hsivi check NAME`` and the test suite run this same list.  A check returns None, or one line that says what the file
did, what was expected and what to do.  Samplers are tried on Gaussian data with an exact score, methods of inference on
a Gaussian posterior, with the settings ``CONTRACT = {label: {key: value}}`` of the file, or its defaults.
"""
