"""The miniature Qwen2-VL: pictures of any size and positions in three axes."""
