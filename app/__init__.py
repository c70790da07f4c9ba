"""Loopwise's service: HTTP API, use cases and storage.

Importing it only asks for linear algebra in one thread. Its matrices are small, and threads that wait for each other on busy
cores make a decision five times slower. The variable has to be set before numpy is imported for the first time.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
