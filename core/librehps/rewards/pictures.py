"""From what trainers hold (arrays, chat messages, rows of a dataset) to items."""

from collections.abc import Mapping
from typing import Any

from librehps.errors import EmptyPromptError, ItemError, UnsupportedMediaError
from librehps.types import Item


def item_of(at: int, media: Any, prompt: Any) -> Item:
    """The item of one sample; one whose media or prompt is of no use has the reason with it."""
    try:
        return Item(str(at), media_of(media), text_of(prompt))
    except ItemError as error:
        return Item(str(at), None, None, problem=error)


def media_of(value: Any) -> Any:
    """What `Item.media` takes.

    Beside that: (H, W, 3) arrays, (frames, 3, H, W) tensors and (frames, H, W, 3) arrays as clips,
    {bytes, path} of a dataset, chat messages with a picture. Raises UnsupportedMediaError.
    """
    import numpy as np
    import torch

    if value is None:
        raise UnsupportedMediaError("there is no picture, or none could be rendered")
    if isinstance(value, np.ndarray):
        return _from_array(value)
    if isinstance(value, torch.Tensor) and value.ndim == 4:
        return list(value)
    if isinstance(value, Mapping):
        content = value.get("bytes") or value.get("path")
        if not content:
            raise UnsupportedMediaError("a picture of a dataset has bytes or a path")
        return content
    if is_chat(value):
        return _from_chat(value)
    return [media_of(frame) for frame in value] if isinstance(value, list | tuple) else value


def text_of(prompt: Any) -> Any:
    """The prompt; of chat messages the text of the last that a user said, else of all of them."""
    if not is_chat(prompt):
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
    """Whether a completion is text that names no media file."""
    from librehps.media.content import kind_by_name

    if is_chat(completion):
        return not _images(completion)
    return isinstance(completion, str) and kind_by_name(completion) is None


def _from_array(array: Any) -> Any:
    import numpy as np
    import torch

    if array.ndim == 4:
        return [_from_array(frame) for frame in array]
    if array.ndim != 3 or (array.dtype.kind != "f" and array.dtype != np.uint8):
        raise UnsupportedMediaError(
            "an array of shape (H, W, 3), uint8 or floats in [0, 1], is expected, "
            f"not {array.shape} of {array.dtype}"
        )
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))


def _from_chat(messages: Any) -> Any:
    images = _images(messages)
    if not images:
        raise UnsupportedMediaError("the messages of the completion hold no picture")
    return media_of(images[-1])


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
