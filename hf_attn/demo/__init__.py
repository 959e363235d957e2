"""A page in the browser to try a model, look inside it, and learn what attention is."""
