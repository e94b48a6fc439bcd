"""The sizes of an HPSv3 network that determine its memory."""

from librehps.models.activation_memory import ItemSize, Widths
from librehps.models.hpsv3.backbone import HEAD, RewardModel
from librehps.models.hpsv3.model import MERGE, PATCH
from librehps.models.hpsv3.resize import PIXEL_BUDGET
from librehps.models.memory_need import PROMPT_TOKENS, Footprint

# Each item has the long instructions of the template, beside its prompt.
TEMPLATE_TOKENS = 400


def network_footprint(network: RewardModel) -> Footprint:
    """Return the sizes of a network on the meta device, with an image of the usual size."""
    vision, text = network.model.visual.config, network.model.language_model.config
    patches = PIXEL_BUDGET // PATCH**2
    tokens = patches // MERGE**2 + TEMPLATE_TOKENS + PROMPT_TOKENS
    widths = Widths(
        patch_values=6 * PATCH**2,
        vision_hidden=vision.embed_dim,
        vision_mlp=int(vision.embed_dim * vision.mlp_ratio),
        hidden=text.hidden_size,
        mlp=text.intermediate_size,
        queries=text.hidden_size,
    )
    return Footprint(network, (HEAD,), widths, ItemSize(patches, tokens))
