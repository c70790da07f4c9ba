"""Statistics of Loopwise: arrays or mergeable sums in, documented NamedTuples out.

Nothing in this package does I/O, reads a clock, the environment or global randomness: pass arrays, seeds, times. It
imports neither ``bandits`` nor anything of ``app``. Importing it does nothing.
"""
