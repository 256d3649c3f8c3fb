"""Far ends that roomprobe itself plays: `roomprobe codec`, the listeners of a Teamline 5141 (docs/codec.md).

Everything here serves strangers: what comes in is counted and named, never stored, printed or run.
"""
