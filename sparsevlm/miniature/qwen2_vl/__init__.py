"""The miniature Qwen2-VL: images of any size and positions in three axes."""
