"""Mini-Gemini (MGM) with its head, as transformers' `generate` wants it."""

from __future__ import annotations

from torch import Tensor, nn
from transformers.generation import GenerationMixin
from transformers.models.llava.modeling_llava import LlavaCausalLMOutputWithPast
from transformers.utils import can_return_tuple

from sparsevlm.models.mini_gemini.configuration import MiniGeminiConfig
from sparsevlm.models.mini_gemini.model import MiniGeminiModel, MiniGeminiPreTrainedModel


class MiniGeminiForConditionalGeneration(MiniGeminiPreTrainedModel, GenerationMixin):
    """Mini-Gemini with its head, for `generate`.

    Differences from the official class: placeholders are expanded before the call, as in
    transformers' LLaVA; batches are left-padded; an image without its high-resolution version is
    refused, where the official code quietly leaves the mining out.
    """

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}

    def __init__(self, config: MiniGeminiConfig) -> None:
        super().__init__(config)
        self.model = MiniGeminiModel(config)
        text = config.text_config
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: object) -> dict:
        """Arguments of the next forward; both images go where ``pixel_values`` goes.

        transformers drops ``pixel_values`` after the first forward that fills a cache; it does
        not know the second image.
        """
        inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)
        if inputs.get("pixel_values") is None:
            inputs.pop("pixel_values_aux", None)
        return inputs

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        pixel_values_aux: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: object = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: object,
    ) -> LlavaCausalLMOutputWithPast:
        """Logits, and the loss where ``labels`` are given.

        Parameters
        ----------
        labels
            ``[batch, tokens]``, -100 where there is nothing to predict; placeholders never count.
        logits_to_keep
            How many last tokens get logits (0: all), or their indices.

        See `MiniGeminiModel.forward` for the other parameters and the errors.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            pixel_values_aux=pixel_values_aux,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        given = isinstance(logits_to_keep, Tensor)
        kept = logits_to_keep if given else slice(-logits_to_keep, None)
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            labels = labels.masked_fill(labels.eq(self.config.image_token_id), -100)
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.text_config.vocab_size
            )
        return LlavaCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=outputs.image_hidden_states,
        )
