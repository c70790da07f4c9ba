"""The learner: a context, an action set and a model's bytes in; a distribution, a choice, a better model out.

Pure: no clock, no environment, no global randomness, no network, and nothing of app, experiments or a web framework.
The one exception is `model.py`: Vowpal Wabbit reads and writes models only as files, so that module uses a private
temporary directory for the length of a call.
"""
