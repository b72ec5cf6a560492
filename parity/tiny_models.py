"""Small models of transformers, one for each family and variant, with made-up weights."""

import numpy as np
import torch
import transformers
from made_up_weights import tensor_of

SIZE = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 32,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
VARIANTS = {
    "wav2vec2": ("Wav2Vec2", "Model", {}),
    "wav2vec2_large": ("Wav2Vec2", "Model", {**LARGE, "conv_bias": True}),
    "hubert": ("Hubert", "Model", {}),
    "hubert_large": ("Hubert", "Model", LARGE),
    "hubert_batch_norm": (
        "Hubert",
        "Model",
        {"conv_pos_batch_norm": True, "feat_proj_layer_norm": False},
    ),
    "hubert_ctc": ("Hubert", "ForCTC", {}),
    "wavlm": ("WavLM", "Model", {}),
    "wavlm_large": ("WavLM", "Model", LARGE),
    "data2vec": ("Data2VecAudio", "Model", {}),
}


def tiny_model(variant, **changes):
    """A model of a variant, in evaluation mode, that gives its attention maps."""
    family, head, own = VARIANTS[variant]
    sizes = {**SIZE, **own, **changes, "attn_implementation": "eager"}
    config = getattr(transformers, f"{family}Config")(**sizes)
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype == torch.float32:
                tensor.copy_(torch.tensor(tensor_of(name, tuple(tensor.shape))))
    return model


def states_of(model, samples, mask=None):
    """Hidden states, maps, output and, of a model with a head, logits: arrays of numpy."""
    mask = None if mask is None else torch.tensor(mask.astype(np.int64))
    with torch.no_grad():
        found = model(
            torch.tensor(np.array(samples)),
            attention_mask=mask,
            output_hidden_states=True,
            output_attentions=True,
        )
    output = found.get("last_hidden_state")
    logits = found.get("logits")
    return (
        [state.numpy() for state in found.hidden_states],
        [maps.numpy() for maps in found.attentions],
        None if output is None else output.numpy(),
        None if logits is None else logits.numpy(),
    )
