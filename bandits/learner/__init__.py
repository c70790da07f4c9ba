"""The learners `auto` and `thompson`: scaled features, Gaussian beliefs, regressions, and a race between them.

`auto` joins them into a model: bytes in, bytes or a distribution out, like `bandits.vw_model`.
"""
