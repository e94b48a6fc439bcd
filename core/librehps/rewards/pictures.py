"""From what trainers hold (arrays, chat messages, rows of a dataset) to items."""

from collections.abc import Mapping, Sequence
from typing import Any

from librehps.errors import EmptyPromptError, ItemError, UnsupportedMediaError, UsageError
from librehps.types import Item


def item_of(at: int, media: Any, prompt: Any, names: bool = True) -> Item:
    """The item of one sample; one whose media or prompt is of no use has the reason with it."""
    try:
        return Item(str(at), media_of(media, names), text_of(prompt))
    except ItemError as error:
        return Item(str(at), None, None, problem=error)


def media_of(value: Any, names: bool = True) -> Any:
    """What `Item.media` takes.

    Beside that: (H, W, 3) arrays, (frames, 3, H, W) tensors and (frames, H, W, 3) arrays as clips,
    {bytes, path} of a dataset, chat messages with a picture. One frame, in whatever holds it, is a
    still. `names`: whether text is the name of a file. Raises UnsupportedMediaError.
    """
    import numpy as np
    import torch

    if value is None:
        raise UnsupportedMediaError("there is no picture, or none could be rendered")
    if isinstance(value, str) and not names:
        raise UnsupportedMediaError("a completion is text, which is never read as a file's name")
    if isinstance(value, np.ndarray | torch.Tensor):
        return _unwrapped(_from_array(value) if isinstance(value, np.ndarray) else _frames(value))
    if isinstance(value, Mapping):
        content = value.get("bytes") or value.get("path")
        if not content:
            raise UnsupportedMediaError("a picture of a dataset has bytes or a path")
        return media_of(content, names)
    if is_chat(value):
        return _from_chat(value, names)
    if isinstance(value, list | tuple):
        return _unwrapped([media_of(frame, names) for frame in value])
    return value


def check_range(items: Sequence[Item]) -> None:
    """Raise UsageError where float pixels of a batch leave [0, 1].

    Of a batch in [-1, 1] the bright pictures alone would pass, one by one, and get wrong scores.
    NaN and infinity are left to who decodes the picture.
    """
    import torch

    from librehps.media.images import STRAY

    media = [frame for item in items for frame in _listed(item.media)]
    for x in media:
        if isinstance(x, torch.Tensor) and x.is_floating_point() and x.numel():
            low, high = torch.where(x.isfinite(), x, 0).detach().float().aminmax()
            if low < -STRAY or high > 1 + STRAY:
                raise UsageError(
                    f"float pixels of the batch run from {low:.3g} to {high:.3g}, not in [0, 1]",
                    hint="For pixels in [-1, 1] give ((x + 1) / 2).clamp(0, 1).",
                )


def text_of(prompt: Any) -> Any:
    """The prompt; of chat messages the text of the last that a user said, else of all of them."""
    if not is_chat(prompt):
        if not isinstance(prompt, str):
            raise EmptyPromptError(f"the prompt is no text, but {type(prompt).__name__}")
        return prompt
    said = [_texts(message) for message in prompt if message.get("role") == "user"][-1:]
    texts = said or [_texts(message) for message in prompt]
    text = "\n".join(part for parts in texts for part in parts)
    if not text.strip():
        raise EmptyPromptError("the messages of the prompt hold no text")
    return text


def is_chat(value: Any) -> bool:
    """Whether it is a list of messages with a role and a content."""
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(message, Mapping) and "content" in message for message in value)
    )


def completion_text(completion: Any) -> Any:
    """Text of a completion: of chat messages all their text; what is no text is as it was."""
    if not is_chat(completion):
        return completion
    return "\n".join(part for message in completion for part in _texts(message))


def is_words(completion: Any) -> bool:
    """Whether a completion is text, and no picture."""
    return not _images(completion) if is_chat(completion) else isinstance(completion, str)


def _from_array(array: Any) -> Any:
    from librehps.media.images import from_array

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
        raise UnsupportedMediaError("the messages of the completion hold no picture")
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
