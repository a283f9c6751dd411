"""What `cnn train` refuses, each with one sentence and before anything is made, or stops at."""

import os
import resource

import numpy as np
import pytest
from commandline import arrays, refused, write_photos

from cnn.article import dense

QUICK = ("--network=dense", "--epochs=2", "--no-plots")


BAD_FLAGS = {
    "--epochs=0": "--epochs: expected a whole number from 1",
    "--epochs=1.5": "--epochs: expected a whole number",
    "--batch-size=0": "--batch-size: expected a whole number from 1",
    "--batch-size=-1": "--batch-size: expected",
    "--learning-rate=0": "--learning-rate: expected a number above 0, got '0'",
    "--learning-rate=-1": "--learning-rate: expected",
    "--learning-rate=inf": "--learning-rate: expected",
    "--learning-rate=nan": "--learning-rate: expected",
    "--learning-rate=fast": "--learning-rate: expected",
    "--optimizer=lion": "--optimizer: invalid choice: 'lion'",
    "--network=rnn": "--network: invalid choice",
    "--validation-split=1": "--validation-split: expected a fraction from 0 to below 1",
    "--validation-split=-0.1": "--validation-split: expected",
    "--validation-split=0.9999": "--validation-split: 0.9999 of 300 photos leaves one part empty",
    "--limit=0": "--limit: expected",
    "--limit=301": "--limit: expected at most 300",
    "--seed=-1": "--seed: expected a whole number from 0",
    "--seed=4294967296": "--seed: expected",
    "--threads=0": "--threads: expected",
    "--shards=0": "--shards: expected",
    "--filters=": "--filters: expected a whole number",
    "--filters=8,0": "--filters: expected",
    "--filters=8,8,8,8,8": "--filters: 5 convolutions are too many",
    "--kernel-size=0": "--kernel-size: expected",
    "--verbose=3": "--verbose: invalid choice",
    "--name=": "--name: expected the name of a folder",
    "--name=..": "--name: expected",
    "--name=a/b": "--name: expected",
    "--resume=nowhere": "--resume: expected the folder of a run",
    "--momentum=1": "unrecognized arguments: --momentum=1",
}


@pytest.mark.parametrize(("flag", "reason"), BAD_FLAGS.items(), ids=BAD_FLAGS)
def test_bad_flags_are_refused_by_name_before_anything_is_made(photo_folder, tmp_path, flag, reason):
    refused(2, reason, "train", "--data", photo_folder, flag, cwd=tmp_path)
    assert os.listdir(tmp_path) == []


def test_dense_takes_no_filters(tmp_path):
    refused(
        2, "--filters: the dense network has no convolutions", "train", "--network=dense", "--filters=3", cwd=tmp_path
    )


def test_data_that_cannot_be_used(photo_folder, tmp_path):
    refused(
        3,
        "nowhere: expected a folder of photos, one of IDX files, or an .npz, found",
        "train",
        "--data=nowhere",
        cwd=tmp_path,
    )
    page = write_photos(tmp_path / "page", 10, 10) / "t10k-labels-idx1-ubyte"
    page.write_bytes(b"<html>404</html>")
    untrained = tmp_path / "untrained.npz"
    dense().save(untrained)
    for command in ("train", "evaluate"):
        model = [] if command == "train" else ["--model", untrained]
        refused(3, "t10k-labels-idx1-ubyte: not an IDX file", command, "--data=page", *model, cwd=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_place_that_cannot_be_written_is_reported_first(photo_folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    refused(1, "file: cannot keep a run here: ", "train", *QUICK, "--data", photo_folder, "--out=file", cwd=tmp_path)
    refused(
        1,
        "cannot keep a run here: Not a directory",
        "train",
        *QUICK,
        "--data",
        photo_folder,
        "--out=file/runs",
        cwd=tmp_path,
    )


def test_a_full_disk_is_reported_before_the_first_epoch(photo_folder, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = refused(
        1, "last.npz.*File too large", "train", *QUICK, "--data", photo_folder, cwd=tmp_path, preexec_fn=small_files
    )
    assert "Epoch 1" not in done.stderr
    assert os.listdir(tmp_path / "runs") == []


def test_divergence_ends_with_5_and_keeps_the_last_good_model(photo_folder, tmp_path):
    flags = ("--learning-rate=1e6", "--optimizer=sgd", "--epochs=3", "--data", photo_folder)
    done = refused(
        5,
        r"epoch 1, step \d+: the loss became (nan|inf).*last good model is in runs/train/last.npz",
        "train",
        *flags,
        cwd=tmp_path,
    )
    assert "RuntimeWarning" not in done.stderr
    assert all(np.isfinite(array).all() for array in arrays(tmp_path / "runs/train/last.npz").values())
