"""Convert the samples of trainers (arrays, chat messages, dataset rows) to items."""

from collections.abc import Mapping, Sequence
from typing import Any

from librehps.errors import EmptyPromptError, ItemError, UnsupportedMediaError, UsageError
from librehps.types import Item


def item_of(at: int, media: Any, prompt: Any, names: bool = True) -> Item:
    """Return the item of a sample; an invalid sample's item has the error in `problem`."""
    try:
        return Item(str(at), media_of(media, names), text_of(prompt))
    except ItemError as error:
        return Item(str(at), None, None, problem=error)


def media_of(value: Any, names: bool = True) -> Any:
    """Return a trainer's media in a form that `Item.media` accepts.

    Accepts what `Item.media` does, and also: (H, W, 3) arrays; videos as (frames, 3, H, W) tensors
    or (frames, H, W, 3) arrays; {bytes, path} of a dataset; chat messages with an image. A video of
    one frame becomes an image. `names`: whether text is a file name. Raises UnsupportedMediaError.
    """
    import numpy as np
    import torch

    if value is None:
        raise UnsupportedMediaError("no image (None)")
    if isinstance(value, str) and not names:
        raise UnsupportedMediaError("unsupported completion: text is never read as a file name")
    if isinstance(value, np.ndarray | torch.Tensor):
        return _unwrapped(_from_array(value) if isinstance(value, np.ndarray) else _frames(value))
    if isinstance(value, Mapping):
        content = value.get("bytes") or value.get("path")
        if not content:
            raise UnsupportedMediaError("dataset image: expected bytes or path, both are empty")
        return media_of(content, names)
    if is_chat(value):
        return _from_chat(value, names)
    if isinstance(value, list | tuple):
        return _unwrapped([media_of(frame, names) for frame in value])
    return value


def check_range(items: Sequence[Item]) -> None:
    """Raise UsageError if float pixels of a batch are outside [0, 1].

    Checked over the batch: in a batch in [-1, 1], a bright image alone may lie within [0, 1] and
    would get a wrong score. NaN and infinity are errors of the single image, found by its decoder.
    """
    import torch

    from librehps.media.arrays import STRAY

    media = [frame for item in items for frame in _listed(item.media)]
    for x in media:
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel():
            low, high = torch.where(x.isfinite(), x, 0).detach().float().aminmax()
            if low < -STRAY or high > 1 + STRAY:
                raise UsageError(
                    f"float pixels: expected [0, 1], got {low:.3g} to {high:.3g} in the batch",
                    hint="Convert pixels in [-1, 1] with ((x + 1) / 2).clamp(0, 1).",
                )


def text_of(prompt: Any) -> Any:
    """Return the prompt's text; for chat messages the last user message, or else all messages."""
    if not is_chat(prompt):
        if not isinstance(prompt, str):
            raise EmptyPromptError(f"prompt: expected a string, got {type(prompt).__name__}")
        return prompt
    said = [_texts(message) for message in prompt if message.get("role") == "user"][-1:]
    texts = said or [_texts(message) for message in prompt]
    text = "\n".join(part for parts in texts for part in parts)
    if not text.strip():
        raise EmptyPromptError("empty prompt: its messages have no text")
    return text


def is_chat(value: Any) -> bool:
    """Return True if `value` is a list of chat messages, each with a content."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(message, Mapping) and "content" in message for message in value)
    )


def completion_text(completion: Any) -> Any:
    """Return the text of a completion; other values than chat messages are returned unchanged."""
    if not is_chat(completion):
        return completion
    return "\n".join(part for message in completion for part in _texts(message))


def is_words(completion: Any) -> bool:
    """Return True if a completion is text without an image."""
    return not _images(completion) if is_chat(completion) else isinstance(completion, str)


def _from_array(array: Any) -> Any:
    from librehps.media.arrays import from_array

    return [from_array(one) for one in array] if array.ndim == 4 else from_array(array)


def _frames(tensor: Any) -> Any:
    return list(tensor) if tensor.ndim == 4 else tensor


def _unwrapped(media: Any) -> Any:
    return media[0] if isinstance(media, list) and len(media) == 1 else media


def _listed(media: Any) -> list[Any]:
    return media if isinstance(media, list) else [media]


def _from_chat(messages: Any, names: bool) -> Any:
    images = _images(messages)
    if not images:
        raise UnsupportedMediaError("no image in the messages of the completion")
    return media_of(images[-1], names)


def _images(messages: Any) -> list[Any]:
    parts = [p for m in messages if isinstance(m["content"], list | tuple) for p in m["content"]]
    found = [part.get("image") for part in parts if isinstance(part, Mapping)]
    return [image for image in found if image is not None]


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message["content"]
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list | tuple) else []
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]
