"""The lab: a real network on one machine, in namespaces of its own, to break on purpose.

`network` builds it, `peers` puts real servers into it, `faults` break it, `product` runs roomprobe in its room.
Nothing here needs pytest or a package beyond the standard library: `scripts/lab` uses the same code.
"""
