"""The class LibreHPS: load a checkpoint, score, compare."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import torch

from librehps import __version__
from librehps.choices import Animated, Sample, VideoBackend, WeightMode
from librehps.decide.calibrators import Calibrator, PlattCalibrators, fit_for, fits_of
from librehps.decide.compare import pair_comparison
from librehps.decide.probability import Platt, Rules
from librehps.engine.decode import Decoder, check_frames
from librehps.engine.devices.pool import load_on, model_devices
from librehps.engine.disk_cache import NO_CACHE, open_cache
from librehps.engine.engine import FindPrompt, LocalEngine, default_workers
from librehps.engine.plan import ITEM_TOKENS
from librehps.engine.score_cache import KnownScores, ScoreCache
from librehps.explain.methods import ExplainMethods
from librehps.gradients.methods import GradientMethods
from librehps.media.image_formats import MAX_PIXELS
from librehps.media.options import MediaOptions
from librehps.media.videos import VideoReaders
from librehps.models.base import (
    MAX_PROMPT_TOKENS,
    Checkpoint,
    Choice,
    Loaded,
    LoadOptions,
    Processor,
    ProcessorOptions,
)
from librehps.models.device_list import DeviceRequest, devices_of
from librehps.models.families import open_checkpoint
from librehps.models.locate import EMBEDDED, Located, locate
from librehps.scores.score_table import ScoreTable
from librehps.settings import DEFAULT_MODEL, NUMERICS, TINY, Settings
from librehps.types import (
    BatchItem,
    ImageScore,
    Item,
    PairComparison,
    Score,
    ScoredRow,
    VideoScore,
    as_item,
)

if TYPE_CHECKING:
    from librehps.types import ImageSource, VideoSource

log = logging.getLogger("librehps")

BATCH_SIZES = {"cpu": 16, "mps": 8, "cuda": 32}
# On a CPU a small batch stays in the processor's caches.
CPU_BATCH_TOKENS = 2 * ITEM_TOKENS


class LibreHPS(ExplainMethods, GradientMethods):
    """A loaded reward model; see `from_pretrained`.

    `settings` records everything that a score depends on, `axes` names the axes; `reasons` says
    why device, dtype, attention and kernel were chosen.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        loaded: Loaded,
        processor: Processor,
        settings: Settings,
        *,
        batch_size: int | None = None,
        workers: int | None = None,
        video_backend: VideoBackend = "auto",
        max_prompt_tokens: int = MAX_PROMPT_TOKENS,
        cache: str | Path | None = None,
    ) -> None:
        self.settings, self.folder = settings, checkpoint.folder
        # Names of the package librehps 1.1.2; a mixture of experts is refused when it is loaded.
        self.checkpoint_path, self.is_moe = checkpoint.folder, False
        self.device, self.dtype = loaded.model.device, loaded.model.dtype
        self.devices = model_devices(loaded.model)
        self.axes, self.has_scalar = checkpoint.axes, checkpoint.has_scalar
        self.reasons = loaded.reasons
        self.batch_size = batch_size or BATCH_SIZES.get(self.device.type, 8)
        is_by_device = batch_size is None and self.device.type == "cpu"
        self._tokens = CPU_BATCH_TOKENS if is_by_device else None
        self._checkpoint, self._model, self._processor = checkpoint, loaded.model, processor
        self.max_prompt_tokens, self.cache = max_prompt_tokens, cache
        self.workers = workers or default_workers()
        self._readers = VideoReaders(video_backend, self.workers)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path = DEFAULT_MODEL,
        attn_impl: str = "auto",
        dtype: str | torch.dtype | None = None,
        device: DeviceRequest = None,
        revision: str | None = None,
        *,
        weights: WeightMode = "auto",
        compile: bool = False,
        num_frames: int | None = None,
        batch_size: int | None = None,
        workers: int | None = None,
        max_prompt_tokens: int = MAX_PROMPT_TOKENS,
        video_backend: VideoBackend = "auto",
        background: str = "white",
        color_management: bool = True,
        animated: Animated = "clip",
        sample: Sample = "index",
        cache: str | Path | None = None,
        download: bool = True,
        own_process: bool = False,
        name_or_path: str | Path | None = None,
    ) -> "LibreHPS":
        """Load `tiny`, a checkpoint's folder, or a hub id (downloaded unless `download` is false).

        attn_impl: auto, fa4, fa2, sdpa or eager. dtype: float32, bfloat16, float16 (fp32, bf16,
        fp16) or torch dtypes. device: auto, cpu, cuda, cuda:1, mps; for a process on each of
        several, `all`, `cuda:0,cuda:1` or a list. own_process: one device has a process too, so
        that the model does not wait for threads of this one. weights: full (auto), or int8 or nf4
        to quantise them while they are read. compile: run on kernels of torch.compile. num_frames:
        frames sampled of a clip (None: the checkpoint's). workers: threads that decode (None: one
        per core). background, color_management, animated, sample: see `MediaOptions`. cache: a
        folder with scores of earlier runs, or `none` (None: LIBREHPS_CACHE, else none). Raises
        ModelError, ExtraNeededError, and UsageError for an invalid or unavailable option.
        """
        media = MediaOptions(background, color_management, animated, sample)
        located = locate(name_or_path or path_or_id, revision, download)
        checkpoint = open_checkpoint(located.folder, located.base)
        processor = checkpoint.processor(ProcessorOptions(max_prompt_tokens))
        options = LoadOptions(attn_impl, dtype, weights=weights, compile=compile)
        devices = devices_of(device)
        loaded = load_on(devices, checkpoint, located.base, options, own_process)
        settings = _settings_of(located, checkpoint, loaded.choice, num_frames, media)
        if located.folder == EMBEDDED:
            warn_of_tiny(settings)
        return cls(
            checkpoint,
            loaded,
            processor,
            settings,
            batch_size=batch_size,
            workers=workers,
            video_backend=video_backend,
            max_prompt_tokens=max_prompt_tokens,
            cache=cache,
        )

    @staticmethod
    def foresee(
        path_or_id: str | Path = DEFAULT_MODEL,
        attn_impl: str = "auto",
        dtype: str | torch.dtype | None = None,
        device: DeviceRequest = None,
        revision: str | None = None,
        *,
        weights: WeightMode = "auto",
        compile: bool = False,
        num_frames: int | None = None,
        background: str = "white",
        color_management: bool = True,
        animated: Animated = "clip",
        sample: Sample = "index",
        download: bool = True,
    ) -> Settings:
        """Return the settings that `from_pretrained` would have here, without reading the weights.

        The two differ only if an attention backend fails its first forward. Raises ModelError.
        """
        media = MediaOptions(background, color_management, animated, sample)
        located = locate(path_or_id, revision, download)
        checkpoint = open_checkpoint(located.folder, located.base)
        options = LoadOptions(attn_impl, dtype, devices_of(device)[0], weights, compile=compile)
        choice = checkpoint.choose(options)
        return _settings_of(located, checkpoint, choice, num_frames, media)

    def score_image(self, image: "ImageSource", prompt: str) -> ImageScore:
        """Return the scores of an image, of an animated one its first frame; raises ItemError.

        image: a path, encoded bytes, a PIL image, an (H, W, 3) numpy array or a (3, H, W) tensor;
        arrays and tensors hold uint8, or floats in [0, 1].
        """
        [score] = self._score_all([Item("image", image, prompt, "image")], self._still_decoder())
        assert isinstance(score, ImageScore)  # noqa: S101 - the item is an image
        return score

    def score_video(
        self,
        video: "VideoSource",
        prompt: str,
        num_frames: int | None = None,
        pixel_budget: int | None = None,
    ) -> VideoScore:
        """Return the scores of a video: a path, a list of frames, or an array; raises ItemError.

        num_frames: frames that are sampled (None: the checkpoint's, 8 in the published one).
        pixel_budget: pixels that a frame is resized to, about (None: the checkpoint's; 0: sides
        are only rounded to multiples of 32).
        """
        decoder = self._decoder(num_frames, pixel_budget)
        score = self._score_all([Item("video", video, prompt, "video")], decoder)[0]
        assert isinstance(score, VideoScore)  # noqa: S101 - the item is a video
        return score

    def score_images_batch(
        self,
        items: "Sequence[BatchItem | ImageSource]",
        batch_size: int | None = None,
        *,
        prompt: str | None = None,
    ) -> list[ImageScore]:
        """Return the scores of many images, in order; raises the first ItemError.

        items: `BatchItem`s, or with `prompt` images as `score_image` takes. See `score_items` for
        rows with errors instead of an exception, `score_table` for a DataFrame.
        """
        listed = [as_item(at, item, prompt, "image") for at, item in enumerate(items)]
        scores = self._score_all(listed, self._still_decoder(), batch_size)
        return [score for score in scores if isinstance(score, ImageScore)]

    def score_items(
        self,
        items: "Iterable[Item | ImageSource]",
        batch_size: int | None = None,
        *,
        prompt: str | None = None,
        cache: str | Path | None = None,
    ) -> Iterator[ScoredRow]:
        """Return an iterator of a row for each item, in order; a failed item's row has an error.

        items: `Item`s, or with `prompt` paths and other media; the id of a path is the path, of
        other media their index. Duplicates (same bytes, same prompt) are scored once. cache: as
        `from_pretrained`, None for the model's. Raises UsageError for media without a prompt.
        """
        listed = (as_item(at, item, prompt) for at, item in enumerate(items))
        return self.engine(batch_size=batch_size, cache=cache).run(listed)

    def score_table(
        self,
        items: "Iterable[Item | ImageSource]",
        batch_size: int | None = None,
        *,
        prompt: str | None = None,
        cache: str | Path | None = None,
    ) -> ScoreTable:
        """Return the rows of `score_items` as a table with `to_pandas`, `to_arrow` and `write`."""
        rows = self.score_items(items, batch_size, prompt=prompt, cache=cache)
        return ScoreTable.from_rows(rows, self.settings)

    def engine(
        self,
        find_prompt: FindPrompt | None = None,
        index: KnownScores | None = None,
        batch_size: int | None = None,
        *,
        cache: str | Path | None = NO_CACHE,
        max_pixels: int = MAX_PIXELS,
        resize_on: torch.device | None = None,
        hashes: bool = False,
    ) -> LocalEngine:
        """Return the engine behind `score_items`, for callers that read its progress or stop it.

        find_prompt: returns each item with its prompt, in the threads that decode. index: keeps
        scores of this run (None: in a temporary file); cache: for later runs, as in `score_items`.
        max_pixels: limit on a frame of encoded media. resize_on: device that resizes tensors, with
        small differences from the exact resize. hashes: rows have perceptual hashes (`phash`).
        """
        asked = self.cache if cache is None else cache
        kept = open_cache(asked, self.settings.digest, hashes=hashes)
        decoder = replace(self._decoder(), max_pixels=max_pixels, resize_on=resize_on, cache=kept)
        engine = self._engine(replace(decoder, hashes=hashes), batch_size)
        return replace(
            engine,
            find_prompt=find_prompt or engine.find_prompt,
            index=ScoreCache() if index is None else index,
        )

    def compare_images(
        self,
        image_a: "ImageSource",
        image_b: "ImageSource",
        prompt: str,
        calibrator: Calibrator = None,
        **rules: Unpack[Rules],
    ) -> PairComparison:
        """Return which image a person would prefer, on `overall`; raises ItemError.

        `probability` is P(a wins), from the calibrator, or from the sigmas if it is None. The rules
        are those of `decide.probability.judge`: symmetric (True), probability_cutoff (0.55),
        sigma_ceiling (3.0), temperature (1.0). A calibrator of another model raises
        CalibratorMismatchError.
        """
        items = [Item("a", image_a, prompt, "image"), Item("b", image_b, prompt, "image")]
        return self._judge(items, self._still_decoder(), calibrator, rules)

    def compare_videos(
        self,
        video_a: "VideoSource",
        video_b: "VideoSource",
        prompt: str,
        calibrator: Calibrator = None,
        num_frames: int | None = None,
        pixel_budget: int | None = None,
        **rules: Unpack[Rules],
    ) -> PairComparison:
        """Return which clip a person would prefer: `compare_images` for videos.

        num_frames and pixel_budget are those of `score_video`.
        """
        items = [Item("a", video_a, prompt, "video"), Item("b", video_b, prompt, "video")]
        return self._judge(items, self._decoder(num_frames, pixel_budget), calibrator, rules)

    def calibrator(self, path: str | Path | None = None) -> Platt | None:
        """Return the global fit in `path`, or in the checkpoint's calibration.json, or None.

        Raises CalibrationError for an invalid file or a fit of another model.
        """
        fits = self.calibrators(path)
        return None if fits is None else fits.default

    def calibrators(self, path: str | Path | None = None) -> PlattCalibrators | None:
        """Return all fits of a calibration file: the global one, and one per benchmark."""
        return fits_of(path, self.folder, self.settings.model, self.settings.fingerprint)

    def _decoder(self, num_frames: int | None = None, pixel_budget: int | None = None) -> Decoder:
        frames = self.settings.num_frames if num_frames is None else num_frames
        check_frames(frames)
        processor = self._processor
        if pixel_budget is not None:
            processor = processor.with_budget(pixel_budget)
        media = MediaOptions.from_settings(self.settings)
        return Decoder(processor, self._readers, frames, self._checkpoint.kinds, media)

    def _still_decoder(self) -> Decoder:
        decoder = self._decoder()
        return replace(decoder, media=replace(decoder.media, animated="still"))

    def _engine(self, decoder: Decoder, batch_size: int | None) -> LocalEngine:
        size = batch_size or self.batch_size
        tokens = None if batch_size else self._tokens
        return LocalEngine(self._model, decoder, size, self.workers, tokens)

    def _score_all(
        self, items: Sequence[Item], decoder: Decoder, batch_size: int | None = None
    ) -> list[Score]:
        scores = []
        for row in self._engine(decoder, batch_size).run(items):
            if row.error is not None:
                raise row.error
            assert row.score is not None  # noqa: S101 - a row has a score or an error
            scores.append(row.score)
        return scores

    def _judge(
        self, items: list[Item], decoder: Decoder, calibrator: Calibrator, rules: Rules
    ) -> PairComparison:
        fit = fit_for(calibrator, self.settings.record())
        a, b = self._score_all(items, decoder)
        return pair_comparison(a, b, fit, rules)


def warn_of_tiny(settings: Settings) -> None:
    """Log a warning if these are the settings of the embedded model."""
    if settings.model == locate(TINY).name:
        log.warning(
            "%s ranks rendered scenes of coloured shapes; its scores of photographs mean nothing",
            settings.model,
        )


def _settings_of(
    located: Located,
    checkpoint: Checkpoint,
    choice: Choice,
    num_frames: int | None,
    media: MediaOptions,
) -> Settings:
    return Settings(
        model=located.name,
        fingerprint=checkpoint.fingerprint(),
        layout=checkpoint.layout,
        dtype=str(choice.dtype).removeprefix("torch."),
        weights=choice.weights,
        attention=choice.attention,
        delta_rule=choice.kernel,
        pixel_budget=checkpoint.pixel_budget,
        num_frames=num_frames or checkpoint.num_frames,
        **media.record(),
        numerics=NUMERICS,
        version=__version__,
        axes=checkpoint.axes,
    )
