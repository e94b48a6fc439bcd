"""Every error that this library raises on purpose.

LibreHPSError
├── UsageError               an invalid request: a path not found, no prompt, a wrong option
├── ModelError               no model to score with
│   ├── ModelNotFoundError       no such folder or hub id, or a failed download
│   ├── DownloadNeededError      the model is not on this machine, a download is not allowed
│   ├── CheckpointError          an invalid, unsupported or incomplete checkpoint
│   ├── AttentionError           the attention backend is not available here
│   └── MemoryShortError         not enough memory for the weights
├── CalibrationError         an invalid or missing calibration file
│   └── CalibratorMismatchError  a calibration fitted for another model
├── PreferenceError          an invalid preference file, or scores that do not fit one
├── TrainingError            a training run that cannot start, resume or continue
├── ExtraNeededError         a package is needed that is not installed
├── RewardServerError        the reward server is unreachable or its answer invalid
├── NothingScoredError       no row has a score
├── OutputError              the output file cannot be written
├── ServeError               a server that cannot accept or finish a request
│   ├── QueueFullError           too many items are waiting
│   └── AbandonedError           the server stopped before the item was scored
├── EngineError              a cluster failed
└── ItemError                one item cannot be scored: its row has the error, the run goes on
    ├── PromptError              a missing or invalid prompt
    │   ├── EmptyPromptError         the prompt is empty
    │   └── PromptTooLongError       the prompt has too many tokens
    ├── MediaError               media that cannot be read
    │   ├── MediaNotFoundError       file not found
    │   ├── EmptyFileError           a file of 0 bytes
    │   ├── UnsupportedMediaError    an unsupported format
    │   ├── BrokenMediaError         a supported format, but damaged
    │   ├── DecompressionBombError   too many pixels
    │   ├── AspectRatioError         an image that is too long and thin
    │   ├── NoVideoStreamError       a video file without video
    │   ├── MediaRefusedError        a path or URL that a server does not read for a client
    │   ├── VideoTimeoutError        decoding took too long
    │   └── DecoderCrashError        the decoder crashed
    ├── WorkerDiedError          every worker of a cluster that took the item died
    ├── DeviceMemoryError        the item alone does not fit in the device's memory
    └── NonFiniteScoreError      the model returned NaN or infinity
"""


class LibreHPSError(Exception):
    """The base of every error of this library; `hint` is the next step for the user, or None."""

    hint: str | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(LibreHPSError):
    """An invalid request: a path not found, no prompt, a wrong option."""


class ModelError(LibreHPSError):
    """No model to score with."""


class ModelNotFoundError(ModelError):
    """No such folder or hub id, or a failed download."""


class DownloadNeededError(ModelError):
    """The model is not on this machine, a download is not allowed."""


class CheckpointError(ModelError):
    """An invalid, unsupported or incomplete checkpoint."""


class AttentionError(ModelError):
    """The attention backend is not available here."""


class MemoryShortError(ModelError):
    """Not enough memory for the weights."""


class CalibrationError(LibreHPSError):
    """An invalid or missing calibration file."""


class CalibratorMismatchError(CalibrationError):
    """A calibration fitted for another model."""


class PreferenceError(LibreHPSError):
    """An invalid preference file, or scores that do not fit one."""


class TrainingError(LibreHPSError):
    """A training run that cannot start, resume or continue."""


class ExtraNeededError(LibreHPSError):
    """A package is needed that is not installed."""


class RewardServerError(LibreHPSError):
    """The reward server is unreachable or its answer invalid."""


class NothingScoredError(LibreHPSError):
    """No row has a score."""


class OutputError(LibreHPSError):
    """The output file cannot be written."""


class ServeError(LibreHPSError):
    """A server that cannot accept or finish a request."""


class QueueFullError(ServeError):
    """Too many items are waiting; a client may retry after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AbandonedError(ServeError):
    """The server stopped before the item was scored."""


class EngineError(LibreHPSError):
    """A cluster failed."""


class ItemError(LibreHPSError):
    """One item cannot be scored: its row has the error, the run goes on."""


class PromptError(ItemError):
    """A missing or invalid prompt."""


class EmptyPromptError(PromptError):
    """The prompt is empty."""


class PromptTooLongError(PromptError):
    """The prompt has too many tokens."""


class MediaError(ItemError):
    """Media that cannot be read."""


class MediaNotFoundError(MediaError):
    """File not found."""


class EmptyFileError(MediaError):
    """A file of 0 bytes."""


class UnsupportedMediaError(MediaError):
    """An unsupported format."""


class BrokenMediaError(MediaError):
    """A supported format, but damaged."""


class DecompressionBombError(MediaError):
    """Too many pixels."""


class AspectRatioError(MediaError):
    """An image that is too long and thin."""


class NoVideoStreamError(MediaError):
    """A video file without video."""


class MediaRefusedError(MediaError):
    """A path or URL that a server does not read for a client."""


class VideoTimeoutError(MediaError):
    """Decoding took too long."""


class DecoderCrashError(MediaError):
    """The decoder crashed."""


class DeviceMemoryError(ItemError):
    """The item alone does not fit in the device's memory."""


class WorkerDiedError(ItemError):
    """Every worker of a cluster that took the item died."""


class NonFiniteScoreError(ItemError):
    """The model returned NaN or infinity."""
