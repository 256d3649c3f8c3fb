"""The link between the touchscreen controller and the codec, as a whole: finding the codec, and why a port of it fails.

`evidence` is what was seen; `search` and `examine` send (through net/); `known` keeps one small file; the others are pure.
A port is judged on its own in probes/controller.py (with `hold` and `hole`), then by `diagnosis` (with `absent`), and by `settle`
once the paths are known.
"""
