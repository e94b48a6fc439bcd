"""The hub repositories of HPSv3: one for the weights, another for config and tokenizer."""

REPO, SIZE = "MizzenAI/HPSv3", "17 GB"
WEIGHTS_FILE = "HPSv3.safetensors"
BASE_REPO, BASE_SIZE = "Qwen/Qwen2-VL-7B-Instruct", "7 MB"
BASE_FILES = ("config.json", "tokenizer.json")
