"""Judges of open answers: a match, an open model that runs here, a model behind an address.

Video questions and MM-Vet are scored in the paper by language models that are no longer served, so
a score always names its judge: `Judge.identity()` is part of what identifies a result.
"""
