"""Stands for tests/generation/test_utils.py: our models classify, none of them generates."""


class GenerationTesterMixin:
    """Only looked up by `isinstance` checks of the common model tests."""
