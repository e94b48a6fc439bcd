"""Where HPSv3 is published: the weights in one repository, config and tokenizer in another."""

REPO, SIZE = "MizzenAI/HPSv3", "17 GB"
WEIGHTS_FILE = "HPSv3.safetensors"
BASE_REPO, BASE_SIZE = "Qwen/Qwen2-VL-7B-Instruct", "7 MB"
BASE_FILES = ("config.json", "tokenizer.json")
