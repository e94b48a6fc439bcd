"""Convert the samples of trainers (arrays, chat messages, dataset rows) to items."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from librehps.errors import EmptyPromptError, ItemError, UnsupportedMediaError, UsageError
from librehps.rewards.shapes import check_floats, from_pixels, is_pixels
from librehps.types import Item


def item_of(at: int, media: Any, prompt: Any, names: bool = True, frames: bool = False) -> Item:
    """Return the item of a sample; an invalid sample's item has the error in `problem`."""
    try:
        return Item(str(at), media_of(media, names, frames), text_of(prompt))
    except ItemError as error:
        return Item(str(at), None, None, problem=error)


def readable(item: Item) -> Item:
    """Return an item with its media as `media_of` reads them; a list is a clip, as in any item."""
    if item.problem is not None:
        return item
    given = item.media
    try:
        media = media_of(given, frames=True)
    except ItemError as error:
        return replace(item, problem=error)
    if item.kind == "video" and (is_pixels(given) or isinstance(given, list | tuple)):
        media = [*_listed(media)]
    return replace(item, media=media)


def media_of(value: Any, names: bool = True, frames: bool = False) -> Any:
    """Return a trainer's media in a form that `Item.media` accepts.

    Accepts what `Item.media` does, and also: pixels of the shapes in `from_pixels`; {bytes, path}
    of a dataset; chat messages with an image; a list of one image. A clip of one frame becomes an
    image. `names`: whether text is a file name. `frames`: whether a list of several images is a
    clip; otherwise such a list is an error, since a sample has one image. Raises
    UnsupportedMediaError.
    """
    if value is None:
        raise UnsupportedMediaError("no image (None)")
    if isinstance(value, str) and not names:
        raise UnsupportedMediaError("unsupported completion: text is never read as a file name")
    if is_pixels(value):
        return _unwrapped(from_pixels(value))
    if isinstance(value, Mapping):
        content = value.get("bytes") or value.get("path")
        if not content:
            raise UnsupportedMediaError("dataset image: expected bytes or path, both are empty")
        return media_of(content, names)
    if is_chat(value):
        return _from_chat(value, names, frames)
    if isinstance(value, list | tuple):
        return _from_list(value, names, frames)
    return bytes(value) if isinstance(value, bytearray | memoryview) else value


def check_range(items: Sequence[Item]) -> None:
    """Raise UsageError if float pixels of a batch are outside [0, 1].

    Checked over the batch: in a batch in [-1, 1], a bright image alone may lie within [0, 1] and
    would get a wrong score. NaN and infinity are errors of the single image, found by its decoder.
    """
    import torch

    for frame in (frame for item in items for frame in _listed(item.media)):
        if isinstance(frame, torch.Tensor):
            check_floats(frame)


def check_lengths(**samples: Any) -> None:
    """Raise UsageError unless all arguments are sequences of one length, an entry a sample."""
    for name, given in samples.items():
        is_sequence = hasattr(given, "__len__") and getattr(given, "shape", None) != ()
        if not is_sequence or isinstance(given, str | bytes | Mapping):
            raise UsageError(f"{name}: expected a sequence, got {type(given).__name__}")
    lengths = {name: len(given) for name, given in samples.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{length} {name}" for name, length in lengths.items())
        raise UsageError(f"different lengths: {told}")


def check_batch(images: Any) -> None:
    """Raise UsageError for one array that is a single image, and not a batch of them."""
    shape: Any = getattr(images, "shape", None)
    # One dimension is a list, for example of file names.
    is_list = shape is None or len(shape) == 1 or str(images.dtype) == "object"
    if is_pixels(images) and not is_list and len(shape) < 4:
        raise UsageError(
            f"images of shape {tuple(shape)}: expected (N, 3, H, W), (N, H, W, 3) or "
            "(N, frames, 3, H, W)",
            hint="A batch of one image is images[None].",
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


def _unwrapped(media: Any) -> Any:
    return media[0] if isinstance(media, list) and len(media) == 1 else media


def _listed(media: Any) -> list[Any]:
    return media if isinstance(media, list) else [media]


def _from_chat(messages: Any, names: bool, frames: bool) -> Any:
    """Return the media of the last message that has any."""
    found = [images for images in map(_images_of, messages) if images]
    if not found:
        raise UnsupportedMediaError("no image in the messages of the completion")
    return _from_list(found[-1], names, frames)


def _from_list(images: Sequence[Any], names: bool, frames: bool) -> Any:
    if len(images) == 1:
        return media_of(images[0], names, frames)
    if not frames or not images:
        raise UnsupportedMediaError(
            f"{len(images)} images in one sample: expected 1 image, or a clip as one array "
            "(frames, 3, H, W) or (frames, H, W, 3), or as a list with frames=True"
        )
    media = [media_of(image, names) for image in images]
    if any(isinstance(one, list) for one in media):
        raise UnsupportedMediaError("several clips in one sample: expected 1 image or 1 clip")
    return media


def _images(messages: Any) -> list[Any]:
    return [image for message in messages for image in _images_of(message)]


def _images_of(message: Mapping[str, Any]) -> list[Any]:
    content = message["content"]
    parts = content if isinstance(content, list | tuple) else []
    found = [part.get("image") for part in parts if isinstance(part, Mapping)]
    return [image for image in found if image is not None]


def _texts(message: Mapping[str, Any]) -> list[str]:
    content = message["content"]
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list | tuple) else []
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [text for text in texts if isinstance(text, str)]
