"""TensorBoard's files, read back by a reader that shares no code with their writer."""

import math
import os
import struct

import numpy as np
import pytest
from conftest import random_batch, small_network
from test_callbacks import Values
from test_resume import interrupted

from cnn import optimizers
from cnn.callbacks import TensorBoard, event_file


def crc32c(data):
    """Bit by bit, as the polynomial is divided."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            odd = (crc ^ byte >> bit) & 1
            crc >>= 1
            if odd:
                crc ^= 0x82F63B78
    return crc ^ 0xFFFFFFFF


def checksum(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def records(data):
    """The data of each frame, whose checksums must be right."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, end = data[12 : 12 + length], 16 + length
        assert struct.unpack("<I", data[8:12]) == (checksum(data[:8]),)
        assert struct.unpack("<I", data[12 + length : end]) == (checksum(body),)
        yield body
        data = data[end:]


def varint(data, place):
    value = shift = 0
    while True:
        byte = data[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place


def message(data):
    """{field's number: [values]} of a protocol buffer; bytes stay bytes."""
    fields, place = {}, 0
    while place < len(data):
        key, place = varint(data, place)
        if key & 7 == 0:
            value, place = varint(data, place)
        elif key & 7 == 1:
            value, place = struct.unpack("<d", data[place : place + 8])[0], place + 8
        elif key & 7 == 5:
            value, place = struct.unpack("<f", data[place : place + 4])[0], place + 4
        else:
            assert key & 7 == 2
            size, place = varint(data, place)
            value, place = data[place : place + size], place + size
            assert len(value) == size
        fields.setdefault(key >> 3, []).append(value)
    return fields


def events(folder):
    """[(step, {name: number, or a histogram's fields})] of the one file in a folder."""
    (name,) = os.listdir(folder)
    first, *rest = [message(record) for record in records((folder / name).read_bytes())]
    assert first[3] == [b"brain.Event:2"] and 1e9 < first[1][0] < 1e11
    found = []
    for event in rest:
        values = {}
        for value in message(event[5][0])[1]:
            fields = message(value)
            values[fields[1][0].decode()] = fields[2][0] if 2 in fields else message(fields[5][0])
        found.append((event.get(2, [0])[0], values))
    return found


def fit(folder, model=None, epochs=3, **arguments):
    model, (x, y) = model or small_network(), random_batch(20)
    board = TensorBoard(folder, **arguments)
    return model.fit(x, y, batch_size=5, epochs=epochs, verbose=0, validation_split=0.25, callbacks=[board])


def test_every_epoch_is_there(tmp_path):
    history = fit(tmp_path, small_network(optimizer=optimizers.Adam(0.25)))
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    assert [step for step, _ in train] == [0, 1, 2]
    for epoch, (_, values) in enumerate(train):
        assert values.pop("epoch_learning_rate") == 0.25
        assert values.keys() == {"epoch_accuracy", "epoch_loss"}
        for name, value in values.items():
            assert value == np.float32(history.history[name.removeprefix("epoch_")][epoch])
    epochs = [(step, values) for step, values in validation if "epoch_loss" in values]
    assert [step for step, _ in epochs] == [0, 1, 2]
    assert [values["epoch_loss"] for _, values in epochs] == list(np.float32(history.history["val_loss"]))
    tests = [(step, values) for step, values in validation if "epoch_loss" not in values]
    assert [step for step, _ in tests] == [3, 6, 9]  # steps of the optimizer
    assert [values["evaluation_loss_vs_iterations"] for _, values in tests] == [
        values["epoch_loss"] for _, values in epochs
    ]


@pytest.mark.parametrize(("update_freq", "steps"), [("epoch", []), ("batch", list(range(1, 10))), (4, [4, 8])])
def test_batches(tmp_path, update_freq, steps):
    fit(tmp_path, update_freq=update_freq)
    batches = [step for step, values in events(tmp_path / "train") if "batch_loss" in values]
    assert batches == steps


def test_how_the_weights_are_spread(tmp_path):
    model = small_network()
    fit(tmp_path, model, epochs=3, histogram_freq=2)
    spread = [(step, values) for step, values in events(tmp_path / "train") if "dense/kernel/histogram" in values]
    assert [step for step, _ in spread] == [0, 2]
    last = spread[-1][1]
    assert last.keys() == {f"{key}/histogram" for key in model.params}
    kernel, fields = model.params["dense/kernel"], last["dense/kernel/histogram"]
    whole = [fields[number][0] for number in (1, 2, 3, 4, 5)]
    numbers = kernel.astype(np.float64)
    expected = [numbers.min(), numbers.max(), numbers.size, numbers.sum(), (numbers**2).sum()]
    np.testing.assert_allclose(whole, expected)
    limits, counts = (np.frombuffer(fields[number][0], "<f8") for number in (6, 7))
    below = [(numbers <= limit).sum() for limit in limits]
    np.testing.assert_allclose(np.cumsum(counts), below, atol=1)  # a number on the limit may be in the next bin
    assert counts.sum() == numbers.size


def test_numbers_that_are_none_and_large_steps(tmp_path):
    path = str(tmp_path / event_file.new_name())
    event_file.append(path, event_file.scalars({"a": math.nan, "b": math.inf, "é": 1e300}, 2**40 + 5))
    event_file.append(path, event_file.histograms({"w": np.array([np.nan, 1.0, np.inf])}, 0))
    event_file.append(path, event_file.histograms({"w": np.array([np.nan])}, 0))
    (step, values), (_, spread), _ = events(tmp_path)
    assert step == 2**40 + 5 and math.isnan(values["a"]) and values["b"] == values["é"] == math.inf
    assert spread["w"][3] == [1.0]


def test_two_runs_write_two_files(tmp_path):
    for _ in range(2):
        fit(tmp_path, epochs=1)
    assert len(os.listdir(tmp_path / "train")) == 2


def test_checksums_of_known_data():
    """RFC 3720, appendix B.4."""
    assert event_file.crc32c(bytes(32)) == 0x8A9136AA
    assert event_file.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert event_file.crc32c(bytes(range(32))) == 0x46DD794E


def test_a_run_that_goes_on_writes_nothing_twice(tmp_path):
    def run(name, stops):
        (tmp_path / name / "backup").mkdir(parents=True)

        def watchers():
            return [TensorBoard(tmp_path / name / "logs", update_freq="batch")]

        interrupted(tmp_path / name / "backup", stops, watchers=watchers, error=KeyboardInterrupt())
        return [events(tmp_path / name / "logs" / part) for part in ("train", "validation")]

    assert run("cut", [3, 6, 5]) == run("whole", [])


@pytest.mark.parametrize(
    "files",
    [
        {"train": ["../x", 5]},
        {"train": ["events.out.tfevents.1/../../x", 5]},
        {"..": ["events.out.tfevents.1", 5]},
        {"train": ["other.txt", 5]},
        {"train": ["events.out.tfevents.1", -5]},
    ],
)
def test_a_hostile_state_reaches_no_other_file(tmp_path, files):
    with pytest.raises(ValueError, match="TensorBoard"):
        TensorBoard(tmp_path).set_state({"batches": 3, "files": files})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"write_images": True}, "TensorBoard: write_images=True is not supported here"),
        ({"profile_batch": (2, 5)}, r"TensorBoard: profile_batch=\(2, 5\) is not supported here"),
        ({"embeddings_freq": 1}, "TensorBoard: embeddings_freq=1 is not supported here"),
        ({"update_freq": 0}, "TensorBoard: update_freq: expected a whole number from 1"),
        ({"histogram_freq": -1}, "TensorBoard: histogram_freq: expected a whole number from 0"),
        ({"write_graph": "no"}, "TensorBoard: write_graph: expected True or False"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TensorBoard(**arguments)


def test_other_callbacks_numbers_are_written_too(tmp_path):
    model, (x, y) = small_network(), random_batch(8)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[Values(mine=[5.0, 6.0]), TensorBoard(tmp_path)])
    assert [values["epoch_mine"] for _, values in events(tmp_path / "train")] == [5.0, 6.0]
