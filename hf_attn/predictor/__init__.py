"""Classifies texts from the tables of a folded model with numpy, without torch and transformers."""
