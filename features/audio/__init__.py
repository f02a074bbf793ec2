"""From a file to samples: headers, decoders, and the process in which one may crash.

It knows no spec. A file that cannot be used is a `ClipError` with a reason code, whatever its decoder did.
"""
