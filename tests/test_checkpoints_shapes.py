"""The table's sizes against configurations in the form that the repositories have them.

Written down from what is generally known of these files, not copied: they leave out what is the
default of their time, have it flat (Qwen2-VL, MGM) or under names of then (image_token_index).
"""

from __future__ import annotations

import json

import pytest
import vocabularies

from sparsevlm.models.checkpoints import find
from sparsevlm.models.checkpoints.contents import family_and_config, sizes_of
from sparsevlm.models.checkpoints.loading import builder_of

CLIP = {"hidden_size": 1024, "intermediate_size": 4096, "model_type": "clip_vision_model",
        "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14,
        "projection_dim": 768}  # fmt: skip
VICUNA = {"model_type": "llama", "max_position_embeddings": 4096, "rms_norm_eps": 1e-5,
          "vocab_size": 32064}  # fmt: skip
THIRTEEN = {"hidden_size": 5120, "intermediate_size": 13824, "num_attention_heads": 40,
            "num_hidden_layers": 40, "num_key_value_heads": 40}  # fmt: skip
LLAVA = {"model_type": "llava", "image_token_index": 32000, "vision_feature_layer": -2,
         "vision_feature_select_strategy": "default",
         "vision_config": {**CLIP, "image_size": 336}}  # fmt: skip
FILES = {
    "llava-7b": {**LLAVA, "text_config": VICUNA},
    "llava-13b": {**LLAVA, "text_config": {**VICUNA, **THIRTEEN}},
    "video-llava-7b": {
        "model_type": "video_llava", "image_token_index": 32000, "video_token_index": 32001,
        "text_config": VICUNA, "vision_config": CLIP, "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    },
    "qwen2-vl-7b": {
        "model_type": "qwen2_vl", "hidden_size": 3584, "intermediate_size": 18944,
        "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
        "vocab_size": 152064, "image_token_id": 151655, "video_token_id": 151656,
        "sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 28,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "num_heads": 16,
                          "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2},
    },
    "qwen2.5-vl-7b": {
        "model_type": "qwen2_5_vl", "hidden_size": 3584, "intermediate_size": 18944,
        "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
        "vocab_size": 152064, "image_token_id": 151655, "video_token_id": 151656,
        "sliding_window": 32768, "use_sliding_window": False, "max_window_layers": 28,
        "rope_theta": 1e6, "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
        "vision_config": {"depth": 32, "hidden_size": 1280, "out_hidden_size": 3584,
                          "intermediate_size": 3420, "num_heads": 16, "patch_size": 14,
                          "spatial_merge_size": 2, "window_size": 112},
    },
    "llava-next-7b": {
        **LLAVA, "model_type": "llava_next", "text_config": VICUNA,
        "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
    },
    "mgm-7b": {
        "model_type": "mgm", "hidden_size": 4096, "intermediate_size": 11008,
        "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
        "vocab_size": 32000, "image_size_aux": 768, "image_grid": 1, "image_global": False,
        "mm_vision_select_layer": -2,
    },
}  # fmt: skip


@pytest.mark.parametrize("short", FILES)
def test_the_table_has_the_sizes_of_the_files(tmp_path, short):
    (tmp_path / "config.json").write_text(json.dumps(FILES[short]))
    (tmp_path / "model.safetensors").write_bytes(b"")
    vocabularies.WRITERS[find(short).family](tmp_path)
    wanted = find(short)
    assert sizes_of(str(tmp_path)) == sizes_of(short) == wanted.sizes
    family, config = family_and_config(str(tmp_path))
    assert family == wanted.family
    if family != "mini_gemini":  # which has no placeholder in its vocabulary
        assert config.image_token_id == FILES[short].get("image_token_index", 151655)
    builder = builder_of(family, config, tmp_path)  # whose vocabulary fits
    assert config.image_token_id in builder.ids("?") or family == "video_llava"
    assert getattr(config.text_config, "sliding_window", None) is None
