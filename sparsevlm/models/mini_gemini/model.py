"""Mini-Gemini without its head: two towers, mining, projector, language model.

Li et al. 2024, arXiv 2403.18814; official code dvlab-research/MGM. After the projector it is
LLaVA-1.5: the visual tokens stand where their placeholders stood.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel, CLIPVisionModel, PreTrainedModel
from transformers.models.llava.modeling_llava import LlavaModelOutputWithPast
from transformers.utils import can_return_tuple

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.vision import AuxTower, PatchInfoMining, aux_views


class MiniGeminiPreTrainedModel(PreTrainedModel):
    """What both classes tell transformers about themselves."""

    config_class = MiniGeminiConfig
    config: MiniGeminiConfig
    base_model_prefix = "model"
    input_modalities = ("image", "text")
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True


class MiniGeminiModel(MiniGeminiPreTrainedModel):
    """Towers, mining, projector and the language model without its head."""

    def __init__(self, config: MiniGeminiConfig) -> None:
        super().__init__(config)
        vision, text = config.vision_config.hidden_size, config.text_config.hidden_size
        self.vision_tower = CLIPVisionModel._from_config(config.vision_config)
        self.vision_tower_aux = AuxTower(config.aux_config)
        self.mining = PatchInfoMining(vision, config.aux_channels)
        self.projector = nn.Sequential(nn.Linear(vision, text), nn.GELU(), nn.Linear(text, text))
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()

    def train(self, mode: bool = True) -> MiniGeminiModel:
        """Set the mode of all but the towers, whose blocks are never dropped."""
        super().train(mode)
        self.vision_tower.eval()
        self.vision_tower_aux.eval()
        return self

    def get_image_features(self, pixel_values: Tensor, pixel_values_aux: Tensor | None) -> Tensor:
        """Visual tokens as the language model gets them, but for Gemma's scale.

        Parameters
        ----------
        pixel_values
            ``[images, 3, side, side]``, HD ``[images, views, 3, side, side]``: the crops row by
            row, then the whole image.
        pixel_values_aux
            ``[images, 3, side, side]`` with the side ``image_size_aux``.

        Returns
        -------
        Tensor
            ``[images, visual tokens, hidden]``. HD: the tokens of the whole image, then those of
            each crop, without a separator.

        Raises
        ------
        ValueError
            For other shapes.
        """
        self._check_pixels(pixel_values, pixel_values_aux)
        assert pixel_values_aux is not None, "checked"
        config, images = self.config, len(pixel_values)
        tokens = self._clip(pixel_values.flatten(0, -4)).unflatten(0, (images, config.num_views))
        aux = self.vision_tower_aux.pyramid(pixel_values_aux.to(self.vision_tower_aux.dtype))
        views = aux_views(aux, config.image_grid, config.image_global)
        # View by view: the windows of all five HD views at once would take gigabytes.
        mined = [self.mining(tokens[:, view], part) for view, part in enumerate(views)]
        if config.image_global:
            mined = [mined[-1], *mined[:-1]]
        return self.projector(torch.cat(mined, dim=1))

    def _clip(self, pixels: Tensor) -> Tensor:
        """``[views, tokens, hidden]`` of CLIP, its class token dropped."""
        states = self.vision_tower(pixels, output_hidden_states=True).hidden_states
        return states[self.config.vision_feature_layer][:, 1:]

    def _check_pixels(self, pixels: Tensor, aux: Tensor | None) -> None:
        config = self.config
        side, side_aux = config.vision_config.image_size, config.image_size_aux
        views = [config.num_views] if config.num_views > 1 else []
        images = len(pixels)
        want, want_aux = (images, *views, 3, side, side), (images, 3, side_aux, side_aux)
        if aux is None:
            raise ValueError(
                "pixel_values came without pixel_values_aux, the high-resolution image; give both "
                "(`MiniGeminiPromptBuilder.inputs` makes them from one image)"
            )
        if tuple(pixels.shape) != want or tuple(aux.shape) != want_aux:
            raise ValueError(
                f"this model takes pixel_values {list(want)} and pixel_values_aux "
                f"{list(want_aux)}, got {list(pixels.shape)} and {list(aux.shape)}"
            )

    def scaled(self, features: Tensor) -> Tensor:
        """Projected features as the language model gets them."""
        if self.config.text_config.model_type == "gemma":
            # Gemma scales whatever it embeds; transformers 5 does so for words only.
            features = features * features.new_tensor(features.shape[-1] ** 0.5)
        return features

    def _splice(self, embeddings: Tensor, visual: Tensor, features: Tensor) -> Tensor:
        places, tokens = int(visual.sum()), features.shape[0] * features.shape[1]
        if places != tokens:
            raise ValueError(
                f"input_ids have {places} placeholders (id {self.config.image_token_id}), but "
                f"{len(features)} images give {tokens} visual tokens; write "
                f"{features.shape[1]} placeholders per image"
            )
        features = self.scaled(features)
        return embeddings.masked_scatter(visual[..., None], features.to(embeddings))

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_aux: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: object,
    ) -> LlavaModelOutputWithPast:
        """Run the language model over words and visual tokens.

        Parameters
        ----------
        input_ids
            ``[batch, tokens]`` with one placeholder per visual token; or ``inputs_embeds``
            ``[batch, tokens, hidden]``, complete.
        pixel_values, pixel_values_aux
            See `get_image_features`; in the order of the images in the batch.
        attention_mask, position_ids
            ``[batch, tokens]``.
        past_key_values, **kwargs
            For the language model.

        Raises
        ------
        ValueError
            If ``input_ids`` and ``inputs_embeds`` are both given or both missing, pixels come
            with ``inputs_embeds``, or placeholders and images do not fit.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give exactly one of input_ids and inputs_embeds")
        features, cache = None, past_key_values
        if input_ids is not None:
            visual = input_ids.eq(self.config.image_token_id)
            # The id of the placeholders may lie outside the vocabulary.
            inputs_embeds = self.get_input_embeddings()(input_ids.masked_fill(visual, 0))
            if pixel_values is not None:
                features = self.get_image_features(pixel_values, pixel_values_aux)
                inputs_embeds = self._splice(inputs_embeds, visual, features)
            elif (cache is None or not cache.get_seq_length()) and visual.any():
                raise ValueError("input_ids have image placeholders, but no pixel_values came")
        elif pixel_values is not None:
            raise ValueError(
                "pixel_values came with inputs_embeds; give input_ids with placeholders, so that "
                "the visual tokens find their place"
            )
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return LlavaModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=features,
        )
