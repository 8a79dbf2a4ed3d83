"""The parts of BLIP and BLIP-2 that turn a picture or a text into vectors, without their language models.

Of blip2-opt-2.7b that is a quarter of the weights: the rest is neither read nor kept. Shapes: b pictures or texts, q
queries, n tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Blip2Config, Blip2QFormerModel, Blip2VisionModel, BlipConfig, BlipVisionModel
from transformers.models.blip.modeling_blip import BlipPreTrainedModel
from transformers.models.blip.modeling_blip_text import BlipTextModel
from transformers.models.blip_2.modeling_blip_2 import Blip2PreTrainedModel


class BlipTower(BlipPreTrainedModel):
    """BLIP's vision transformer."""

    _keys_to_ignore_on_load_unexpected = [".*"]  # noqa: RUF012 - as the library declares it

    def __init__(self, config: BlipConfig) -> None:
        super().__init__(config)
        vision: Any = config.vision_config
        self.vision_model = BlipVisionModel._from_config(vision)
        self.dimension: int = vision.hidden_size
        self.post_init()

    def forward(self, pixels: Tensor) -> Tensor:
        """(b, 3, height, width) -> (b, dimension): the class token, which BLIP's own matching head reads.

        The library's `pooler_output` passes through the last normalisation twice.
        """
        states: Tensor = self.vision_model(pixel_values=pixels).last_hidden_state
        return states[:, 0].float()


class BlipTextTower(BlipPreTrainedModel):
    """BLIP's text transformer without a picture to look at, as in the checkpoints for questions and for retrieval."""

    _keys_to_ignore_on_load_unexpected = [".*"]  # noqa: RUF012 - as the library declares it

    def __init__(self, config: BlipConfig) -> None:
        super().__init__(config)
        text: Any = config.text_config
        self.text_encoder = BlipTextModel(text, add_pooling_layer=False)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """(b, n) twice -> an output whose `last_hidden_state` is (b, n, dimension)."""
        return self.text_encoder(input_ids=input_ids, attention_mask=attention_mask)


class Blip2Tower(Blip2PreTrainedModel):
    """BLIP-2's vision transformer and querying transformer."""

    _keys_to_ignore_on_load_unexpected = [".*"]  # noqa: RUF012 - as the library declares it
    _keep_in_fp32_modules = ["query_tokens", "qformer"]  # noqa: RUF012 - as in the library's own models

    def __init__(self, config: Blip2Config) -> None:
        super().__init__(config)
        queries: Any = config.qformer_config
        self.vision_model = Blip2VisionModel._from_config(config.vision_config)
        self.dimension: int = queries.hidden_size
        self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, self.dimension))
        self.qformer = Blip2QFormerModel._from_config(queries)
        self.post_init()

    def forward(self, pixels: Tensor) -> Tensor:
        """(b, 3, height, width) -> (b, dimension): the mean of what the queries (b, q, dimension) found."""
        states = self.vision_model(pixel_values=pixels).last_hidden_state
        found: Any = self.qformer(
            query_embeds=self.query_tokens.expand(len(pixels), -1, -1), encoder_hidden_states=states
        )
        answers: Tensor = found.last_hidden_state
        return answers.float().mean(dim=1)
