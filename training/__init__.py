"""Training of the demonstration bundle: data, encoder and heads, slice networks, fusion, evaluation."""

import os

# Rendering runs one process a core; numpy's own threads on top of that make it two to three times slower. It
# must be said before numpy is loaded. Torch's threads are not meant.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
