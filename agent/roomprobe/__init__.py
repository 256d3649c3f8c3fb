"""roomprobe: says whether this network lets a meeting-room system work, and where it does not."""

__version__ = "0.1.0"
