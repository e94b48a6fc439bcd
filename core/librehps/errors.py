"""Every error this library raises on purpose.

LibreHPSError
├── UsageError               what was asked for cannot be meant (a missing path, no prompt)
├── ModelError               no model to score with
│   ├── ModelNotFoundError       no such folder or hub id, or not downloaded and offline
│   ├── DownloadNeededError      not on this machine, and nobody agreed to download it
│   ├── CheckpointError          a checkpoint that is torn, foreign or incomplete
│   ├── AttentionError           the attention asked for cannot run here
│   └── MemoryShortError         the weights would not fit
├── CalibrationError         a calibration file that cannot be used
│   └── CalibratorMismatchError  fitted for another model
├── PreferenceError          a preference file, or its scores, that cannot be used
├── TrainingError            a run that cannot be started, taken up or gone on with
├── ExtraNeededError         what was asked for needs packages that are not installed
├── RewardServerError        the reward server cannot be asked, or gives no good answer
├── NothingScoredError       no row with a score to decide by
├── OutputError              the output file cannot be written as asked
├── ServeError               a server that cannot take or finish what it is asked
│   ├── QueueFullError           too many items wait already
│   └── AbandonedError           it ended before the item was scored
├── EngineError              what runs the stages on many machines failed
└── ItemError                one item cannot be scored: its row says so, the run goes on
    ├── PromptError
    │   ├── EmptyPromptError
    │   └── PromptTooLongError
    ├── MediaError
    │   ├── MediaNotFoundError
    │   ├── EmptyFileError
    │   ├── UnsupportedMediaError    not one of the formats we open
    │   ├── BrokenMediaError         one of them, but damaged
    │   ├── DecompressionBombError
    │   ├── AspectRatioError
    │   ├── NoVideoStreamError
    │   ├── MediaRefusedError        nothing that a server may read on a client's word
    │   ├── VideoTimeoutError
    │   └── DecoderCrashError
    ├── WorkerDiedError          whichever process of a cluster took it up has died
    ├── DeviceMemoryError        not even one item alone fits on the device
    └── NonFiniteScoreError      the model gave NaN or infinity
"""


class LibreHPSError(Exception):
    """Base of every error of this library; `hint` is the next step for the user, or None."""

    hint: str | None = None

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(LibreHPSError):
    pass


class ModelError(LibreHPSError):
    pass


class ModelNotFoundError(ModelError):
    pass


class DownloadNeededError(ModelError):
    pass


class CheckpointError(ModelError):
    pass


class AttentionError(ModelError):
    pass


class MemoryShortError(ModelError):
    pass


class CalibrationError(LibreHPSError):
    pass


class CalibratorMismatchError(CalibrationError):
    pass


class PreferenceError(LibreHPSError):
    pass


class TrainingError(LibreHPSError):
    pass


class ExtraNeededError(LibreHPSError):
    pass


class RewardServerError(LibreHPSError):
    pass


class NothingScoredError(LibreHPSError):
    pass


class OutputError(LibreHPSError):
    pass


class ServeError(LibreHPSError):
    pass


class QueueFullError(ServeError):
    """`retry_after` in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AbandonedError(ServeError):
    pass


class EngineError(LibreHPSError):
    pass


class ItemError(LibreHPSError):
    pass


class PromptError(ItemError):
    pass


class EmptyPromptError(PromptError):
    pass


class PromptTooLongError(PromptError):
    pass


class MediaError(ItemError):
    pass


class MediaNotFoundError(MediaError):
    pass


class EmptyFileError(MediaError):
    pass


class UnsupportedMediaError(MediaError):
    pass


class BrokenMediaError(MediaError):
    pass


class DecompressionBombError(MediaError):
    pass


class AspectRatioError(MediaError):
    pass


class NoVideoStreamError(MediaError):
    pass


class MediaRefusedError(MediaError):
    pass


class VideoTimeoutError(MediaError):
    pass


class DecoderCrashError(MediaError):
    pass


class DeviceMemoryError(ItemError):
    pass


class WorkerDiedError(ItemError):
    pass


class NonFiniteScoreError(ItemError):
    pass
