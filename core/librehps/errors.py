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
├── StorageError             a file or URL that cannot be read or written
│   ├── StorageNotFoundError     no such file, bucket or URL
│   ├── StorageDeniedError       no access to a file or URL
│   └── StorageNetworkError      the network or a mount failed; a later try may succeed
├── OutageError              items in a row could not be read for one reason, and the run gave up
├── ServeError               a server that cannot accept or finish a request
│   ├── QueueFullError           too many items are waiting
│   ├── AbandonedError           the server stopped before the item was scored
│   └── DeviceError              the server's device failed, or does not answer
├── EngineError              a cluster, or the process of a device, failed
└── ItemError                one item cannot be scored: its row has the error, the run goes on
    ├── InvalidItemError         an item of a request or of standard input, not as documented
    │   └── DuplicateIdError         a later item of standard input with the id of an earlier one
    ├── PromptError              a missing or invalid prompt
    │   ├── EmptyPromptError         the prompt is empty
    │   └── PromptTooLongError       the prompt has too many tokens
    ├── MediaError               media that cannot be read
    │   ├── MediaNotFoundError       file not found
    │   ├── MediaDeniedError         no access to the file or URL
    │   ├── NetworkError             the network or a mount failed; a later try may succeed
    │   ├── EmptyFileError           a file of 0 bytes
    │   ├── UnsupportedMediaError    an unsupported format
    │   ├── BrokenMediaError         a supported format, but damaged
    │   ├── DecompressionBombError   too many pixels
    │   ├── AspectRatioError         an image that is too long and thin
    │   ├── NoVideoStreamError       a video file without video
    │   ├── MediaRefusedError        a path or URL that a server does not read for a client
    │   ├── VideoTimeoutError        decoding took too long
    │   └── DecoderCrashError        the decoder crashed
    ├── WorkerDiedError          every process that tried the item died
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
    """A model that is not on this machine, while a download is not allowed."""


class CheckpointError(ModelError):
    """An invalid, unsupported or incomplete checkpoint."""


class AttentionError(ModelError):
    """An attention backend that is not available here."""


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
    """A needed package that is not installed."""


class RewardServerError(LibreHPSError):
    """A reward server that is unreachable, or its invalid answer."""


class NothingScoredError(LibreHPSError):
    """An error raised when no row has a score."""


class OutputError(LibreHPSError):
    """An output file that cannot be written."""


class StorageError(LibreHPSError):
    """A file or URL that cannot be read or written.

    `cause` is the reason in a few words, `host` the host or bucket of the URL (empty for a path).
    """

    def __init__(
        self, message: str, hint: str | None = None, cause: str = "", host: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.cause, self.host = cause, host


class StorageNotFoundError(StorageError):
    """A file, bucket or URL that does not exist."""


class StorageDeniedError(StorageError):
    """A file or URL to which access is denied."""


class StorageNetworkError(StorageError):
    """A failure of the network or of a mount, which a later try may not have.

    `retry_after` is the time in seconds that the server asks to wait, if it does.
    """

    retry_after: float | None = None


class OutageError(LibreHPSError):
    """The end of a run whose items, many in a row, could not be read for one reason."""


class ServeError(LibreHPSError):
    """A server that cannot accept or finish a request."""


class QueueFullError(ServeError):
    """Too many items are waiting; a client may retry after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AbandonedError(ServeError):
    """A server that stopped before the item was scored."""


class DeviceError(ServeError):
    """A server's device that failed, or does not answer; `status` is `failed` or `stalled`."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class EngineError(LibreHPSError):
    """A failure of the cluster, or of the devices' processes, that score the items."""


class ItemError(LibreHPSError):
    """The error of one item that cannot be scored: its row has the error, the run goes on."""


class InvalidItemError(ItemError):
    """An item of a request to a server, or of standard input, that is not as documented."""


class DuplicateIdError(InvalidItemError):
    """An item of standard input whose id an earlier item has."""


class PromptError(ItemError):
    """A missing or invalid prompt."""


class EmptyPromptError(PromptError):
    """An empty prompt."""


class PromptTooLongError(PromptError):
    """A prompt of too many tokens."""


class MediaError(ItemError):
    """Media that cannot be read."""


class MediaNotFoundError(MediaError):
    """A media file that is not found."""


class MediaDeniedError(MediaError):
    """A media file or URL to which access is denied; `cause` and `host` as in StorageError."""

    def __init__(
        self, message: str, hint: str | None = None, cause: str = "", host: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.cause, self.host = cause, host


class NetworkError(MediaError):
    """A failure of the network or of a mount, which a later try may not have.

    `cause` and `host` as in StorageError.
    """

    def __init__(
        self, message: str, hint: str | None = None, cause: str = "", host: str = ""
    ) -> None:
        super().__init__(message, hint)
        self.cause, self.host = cause, host


class EmptyFileError(MediaError):
    """A media file of 0 bytes."""


class UnsupportedMediaError(MediaError):
    """Media in an unsupported format."""


class BrokenMediaError(MediaError):
    """A damaged media file in a supported format."""


class DecompressionBombError(MediaError):
    """An image or video with too many pixels."""


class AspectRatioError(MediaError):
    """An image that is too long and thin."""


class NoVideoStreamError(MediaError):
    """A video file without video."""


class MediaRefusedError(MediaError):
    """A path or URL that a server does not read for a client."""


class VideoTimeoutError(MediaError):
    """A video that takes too long to decode."""


class DecoderCrashError(MediaError):
    """A video that crashed the decoder."""


class DeviceMemoryError(ItemError):
    """An item that does not fit in the device's memory, even alone."""


class WorkerDiedError(ItemError):
    """An item whose process died each time it was tried, on a cluster or on several devices."""


class NonFiniteScoreError(ItemError):
    """A score of NaN or infinity."""


# Names of the package librehps 1.1.2: what loading a model raises, and what any call raises.
CheckpointLoadError = ModelError
InferenceContractError = LibreHPSError
