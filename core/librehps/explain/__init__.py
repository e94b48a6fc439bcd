"""Explanations of a model's scores: words of the prompt, regions of the picture, frames."""
