"""The link between the touchscreen controller and the codec, as a whole: finding the codec, and why a port of it fails.

`evidence` is what was seen; `search` and `examine` send (through net/); `candidates`, `diagnosis` and `finding` are pure;
`known` keeps one small file.
"""
