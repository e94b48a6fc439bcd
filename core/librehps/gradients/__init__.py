"""Rewards whose graph reaches the pixels, for trainers that follow the reward's gradient."""
