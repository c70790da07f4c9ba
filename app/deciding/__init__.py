"""One decision: who may be chosen, the distribution, the draw, the stored row, the answer."""
