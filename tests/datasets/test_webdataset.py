"""Shards are those of WebDataset: the library reads ours, and we read the library's."""

from __future__ import annotations

import tarfile

import pytest

from tests.datasets.shard_list import VIDEOS, shards_of, write_prepared
from tests.datasets.small_list import dataset, joined, training_data

webdataset = pytest.importorskip("webdataset")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared") / "data"
    write_prepared(folder)
    return folder


def test_the_library_reads_our_shards(prepared):
    urls = [str(shard) for shard in shards_of(prepared / "shards")]
    read = {sample["__key__"]: sample["avi"] for sample in webdataset.WebDataset(urls, shardshuffle=False)}
    assert read == {file.stem: file.read_bytes() for file in (prepared / "videos").iterdir()}
    assert len(read) == VIDEOS


def test_training_reads_shards_that_the_library_wrote(prepared, tmp_path):
    files = sorted((prepared / "videos").iterdir())
    for shard in range(2):
        with webdataset.TarWriter(str(tmp_path / f"{shard}.tar")) as writer:
            for file in files[shard::2]:
                writer.write({"__key__": file.stem, "avi": file.read_bytes(), "json": b"{}"})
    lines = [f"{k % 2}.tar/{file.name} {k % 3}" for k, file in enumerate(files)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    data = training_data(dataset(tmp_path), shuffle_buffer=4)
    samples = joined(data.epoch(0))
    assert sorted(samples.place.tolist()) == list(range(VIDEOS)) and not samples.faults
    assert all(int(label) == int(place) % 3 for label, place in zip(samples.label, samples.place, strict=True))


def test_the_index_is_that_of_the_archive(prepared):
    for shard in shards_of(prepared / "shards"):
        head, *lines = shard.with_suffix(".idx").read_text().splitlines()
        with tarfile.open(shard) as archive:
            expected = [f"avi {member.offset_data} {member.size} {member.name}" for member in archive]
        assert head == f"v1.2 {len(expected)}" and lines == expected
