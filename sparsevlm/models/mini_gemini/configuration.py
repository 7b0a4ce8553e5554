"""Sizes and parts of a Mini-Gemini model."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, CLIPVisionConfig, ConvNextConfig, LlamaConfig, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

SUPPORTED_TEXT = ("llama", "gemma")


class MiniGeminiConfig(PreTrainedConfig):
    """Configuration of `MiniGeminiForConditionalGeneration`; without arguments that of MGM-7B.

    The numbers are those of the official release (dvlab-research/MGM). Different from it: the
    sizes of both vision towers are written out, where its ``config.json`` names folders of
    weights; and the placeholder has an id of its own, where its code always uses -200.

    Parameters
    ----------
    text_config
        Llama or Gemma; `None`: Vicuna-7B v1.5.
    vision_config
        CLIP tower for the low-resolution image; `None`: ViT-L/14 at 336.
    aux_config
        ConvNeXt tower for the high-resolution image; `None`: ConvNeXt-L.
    image_token_id
        Placeholder in ``input_ids``, one per visual token. It may lie outside the vocabulary;
        `None`: the first id after it.
    image_size_aux
        Pixels of a side of the high-resolution image: 768, HD 1536.
    image_grid
        The low-resolution image is cut into ``image_grid`` x ``image_grid`` crops; 1, HD 2.
    image_global
        Whether the whole image comes before its crops; HD only.
    image_aspect_ratio
        ``"pad"``: pad to a square; ``"square"``: cut out the central square.
    vision_feature_layer
        Hidden state of CLIP that is used, counted as in ``hidden_states``.
    tie_word_embeddings
        Set by ``text_config``.

    Raises
    ------
    ValueError
        For another language model, or sizes that do not fit together.
    """

    model_type: ClassVar[str] = "mini_gemini"
    sub_configs: ClassVar[dict] = {
        "text_config": AutoConfig,
        "vision_config": CLIPVisionConfig,
        "aux_config": ConvNextConfig,
    }

    # Configs are given as a dict, a config or None, the id as a number or None; from
    # `__post_init__` on they are configs and a number.
    text_config: Any = None
    vision_config: Any = None
    aux_config: Any = None
    image_token_id: Any = None
    image_size_aux: int = 768
    image_grid: int = 1
    image_global: bool = False
    image_aspect_ratio: str = "pad"
    vision_feature_layer: int = -2
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        self.text_config = _text(self.text_config)
        self.vision_config = _built(self.vision_config, CLIPVisionConfig, clip_large_336)
        self.aux_config = _built(self.aux_config, ConvNextConfig, convnext_large)
        if self.image_token_id is None:
            self.image_token_id = self.text_config.vocab_size
        self.tie_word_embeddings = self.text_config.tie_word_embeddings
        super().__post_init__(**kwargs)
        self._check_sizes()

    @property
    def visual_side(self) -> int:
        """Visual tokens along a side of one view: 24 of CLIP-L at 336."""
        return self.vision_config.image_size // self.vision_config.patch_size

    @property
    def num_views(self) -> int:
        """Low-resolution images per image: 1, HD 5 (four crops, then the whole)."""
        return self.image_grid**2 + int(self.image_global)

    @property
    def num_visual(self) -> int:
        """Visual tokens per image: 576, HD 2880."""
        return self.num_views * self.visual_side**2

    @property
    def aux_channels(self) -> int:
        """Channels of all stages of the high-resolution tower together: 2880."""
        return sum(self.aux_config.hidden_sizes)

    @property
    def window(self) -> int:
        """High-resolution cells along a side of one visual token: 8."""
        return self.image_size_aux // self._aux_step

    @property
    def _aux_step(self) -> int:
        return self.aux_config.patch_size * self.image_grid * self.visual_side

    def _check_sizes(self) -> None:
        if self.image_aspect_ratio not in ("pad", "square"):
            raise ValueError(
                f"image_aspect_ratio must be 'pad' or 'square', got {self.image_aspect_ratio!r}"
            )
        if self.image_global and self.image_grid == 1:
            raise ValueError(
                "image_global adds the whole image to its crops, so it needs image_grid of 2 or "
                "more; with image_grid=1 the whole image is the only view"
            )
        if self.image_size_aux % self._aux_step:
            raise ValueError(
                f"image_size_aux={self.image_size_aux} does not fit {self.visual_side} visual "
                f"tokens on a side: it must be a multiple of {self._aux_step} (patch_size of the "
                "auxiliary tower x image_grid x visual tokens on a side)"
            )


def clip_large_336() -> CLIPVisionConfig:
    """Sizes of CLIP ViT-L/14 at 336 pixels."""
    return CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )


def convnext_large() -> ConvNextConfig:
    """Sizes of ConvNeXt-L, without DropPath."""
    return ConvNextConfig(
        hidden_sizes=[192, 384, 768, 1536],
        depths=[3, 3, 27, 3],
        hidden_act="gelu",
        patch_size=4,
        drop_path_rate=0.0,
    )


def _text(config: dict | PreTrainedConfig | None) -> PreTrainedConfig:
    if config is None:
        return LlamaConfig(max_position_embeddings=4096, rms_norm_eps=1e-5)
    given = config if isinstance(config, dict) else config.to_dict()
    kind = given.get("model_type", "llama")
    if kind not in SUPPORTED_TEXT:
        raise ValueError(
            f"the language model must be one of {', '.join(SUPPORTED_TEXT)}, got {kind!r}; others "
            "may scale or place their embeddings in another way"
        )
    return CONFIG_MAPPING[kind](**config) if isinstance(config, dict) else config


def _built(config, kind: type, default) -> PreTrainedConfig:
    if config is None:
        return default()
    return kind(**config) if isinstance(config, dict) else config
