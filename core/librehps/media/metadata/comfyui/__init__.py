"""Prompts in ComfyUI graphs, found by walking back from the node that saved the file."""
