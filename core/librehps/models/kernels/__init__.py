"""Kernels of Triton for CUDA, each the equal of a few operations of PyTorch."""
