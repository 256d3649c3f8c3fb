"""Sans-IO codecs, one file a protocol: bytes in, frozen values out, or Malformed.

No sockets, clocks, loops or chance here: transaction ids, times and random bytes are arguments.
"""
