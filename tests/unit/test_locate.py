"""Locate a model's folder by name: built in, or on disk."""

import errno

import pytest

from conftest import CHECKPOINT
from librehps.errors import DownloadNeededError, ModelNotFoundError
from librehps.models.locate import EMBEDDED, locate
from librehps.settings import DEFAULT_MODEL


def test_tiny_and_folders() -> None:
    assert locate("tiny").folder == EMBEDDED
    assert locate("tiny").name == "LibreHPS-Tiny"
    assert locate(CHECKPOINT).name == "checkpoint"
    assert locate(str(CHECKPOINT)).folder == CHECKPOINT


@pytest.mark.parametrize("name", ["no/such/folder", "nothing", "./x", "/absent", "a b/c"])
def test_what_is_neither_folder_nor_id(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="neither a folder nor a hub id"):
        locate(name)


def test_an_unknown_id_offline() -> None:
    with pytest.raises(ModelNotFoundError, match="HF_HUB_OFFLINE"):
        locate("nobody/nothing")


def test_consent_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(DownloadNeededError, match=r"20\.7 GB"):
        locate(DEFAULT_MODEL, download=False)


@pytest.mark.parametrize(
    ("error", "problem", "hint"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on", "HF_HOME"),
        (RuntimeError("Data processing error: No space left on device"), "no space left on", "HF"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "permission denied: /x", "HF"),
        (OSError("Consistency check failed\nlong"), "failed: Consistency check failed", "again"),
    ],
)
def test_a_disk_that_fails(
    monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str, hint: str
) -> None:
    """A fake client, since a full disk cannot be had."""

    def fail(repo: str, local_files_only: bool, **_: object) -> str:
        raise FileNotFoundError if local_files_only else error

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ModelNotFoundError) as caught:
        locate("somebody/model")
    assert str(caught.value).startswith("somebody/model: ")
    assert problem in str(caught.value)
    assert hint in str(caught.value.hint)
    assert "\n" not in str(caught.value)
