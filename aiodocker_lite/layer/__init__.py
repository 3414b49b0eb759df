"""Everything that knows what a layer is: compressed bytes in, a confined directory out.

No event loop but in `pool.py`: all other modules are what a worker process imports, so they
use the standard library and the decompressors only. They read hostile bytes; what they may
touch is the one directory whose descriptor they were given.
"""
