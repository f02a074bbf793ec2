"""Embeddings beside the labels: the same for any number of workers and from Python, and readable by others."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import soundmill
from features.errors import RunError, UsageError
from model.scoring.options import EmbeddingOptions
from model.scoring.request import Request
from model.scoring.scorer import score as run_score
from tests.conftest import call
from tests.peers.library import ENVIRONMENTS
from tests.pipelines.conftest import files_of, make_old
from tests.signals import noise, sine, write_wav

README = Path(__file__).parents[2] / "pipelines" / "README.md"


def score(run: Path, source: Path, folder: Path, *options: object) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    arguments = ("--model", run, "--input", source, "--output", folder / "labels.csv", *options)
    assert call("pipelines.score", *arguments) == 0
    return files_of(folder)


def vectors(table: pa.Table) -> np.ndarray:
    return np.stack(table["embedding"].to_numpy())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A recording in several units, shorter ones, and a file that is none."""
    root = tmp_path_factory.mktemp("windows") / "source"
    write_wav(root / "m.wav", noise(600 * 4_000 - 1_000, amplitude=0.2), 4_000)
    for number in range(10):
        write_wav(root / f"z{number}.wav", sine(100 * number + 100, 30_000))
    (root / "none.wav").write_bytes(b"no sound " * 20)
    return make_old(root)


@pytest.fixture(scope="module")
def scored(source, run_folder, tmp_path_factory) -> Path:
    """The output of one worker."""
    folder = tmp_path_factory.mktemp("scored")
    score(run_folder, source, folder, "--embeddings", folder / "embeddings.parquet", "--workers", 1)
    return folder


def test_there_is_a_row_a_window_and_the_labels_stay_as_they_are(scored, source, run_folder, tmp_path):
    plain = score(run_folder, source, tmp_path)
    manifest = "labels.csv.manifest.parquet"  # which says that there are embeddings
    assert plain.pop(manifest)
    assert files_of(scored, "embeddings.parquet", manifest) == plain
    table = pq.read_table(scored / "embeddings.parquet")
    assert table.schema.types == [pa.string(), pa.float64(), pa.float64(), pa.list_(pa.float32(), 128)]
    lines = [line.split(",")[:3] for line in plain["labels.csv"].decode().splitlines()[1:]]
    places = zip(*(table[name].to_pylist() for name in ("path", "start_seconds", "end_seconds")), strict=True)
    assert lines == [[path, f"{start:.6f}", f"{end:.6f}"] for path, start, end in places]
    files = sorted(source.iterdir(), key=lambda path: path.name.encode())
    found = soundmill.load_model(run_folder).embeddings(files, rejects=[])
    assert found.schema == table.schema
    np.testing.assert_array_equal(vectors(found), vectors(table))


def test_the_number_of_workers_and_a_run_that_was_stopped_change_no_byte(scored, source, run_folder, tmp_path):
    options = ("--embeddings", tmp_path / "embeddings.parquet", "--workers", 2)

    def one_part(job, sizes):
        job.write(0, job.label(job.load_network(), 0))
        raise RunError("stopped")

    with pytest.raises(RunError, match="stopped"):
        run_score(Request(str(run_folder), str(source), str(tmp_path / "labels.csv"),
                          embeddings=EmbeddingOptions(str(tmp_path / "embeddings.parquet"))), one_part)  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv.parts"]
    assert score(run_folder, source, tmp_path, *options) == files_of(scored)


def test_half_precision_takes_half_the_room(scored, source, run_folder, tmp_path):
    path = tmp_path / "embeddings.parquet"
    score(run_folder, source / "m.wav", tmp_path, "--embeddings", path, "--embeddings-dtype", "float16")
    table = pq.read_table(path)
    assert table.schema.field("embedding").type == pa.list_(pa.float16(), 128)
    whole = vectors(pq.read_table(scored / "embeddings.parquet"))[: len(table)]
    np.testing.assert_array_equal(vectors(table), whole.astype(np.float16))


def test_a_row_group_of_long_vectors_is_shorter(tmp_path):
    from model.labels.embeddings import EmbeddingsOutput
    from model.labels.window_rows import WindowRows

    size, rows = 4_096, 3_000
    values = np.random.default_rng(0).normal(size=(rows, size)).astype(np.float32)
    windows = WindowRows(["a.wav"], np.array([rows]), np.arange(rows) / 1, np.arange(rows) + 1.0,
                         np.zeros((rows, 2), np.float32), values)  # fmt: skip
    with EmbeddingsOutput(tmp_path / "x.parquet", ("<f4", size)) as output:
        output.write(windows)
        output.complete()
        output.finish()
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [2_048, 952]
    np.testing.assert_array_equal(vectors(file.read()), values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--embeddings", "vectors.csv"), "a Parquet file, whose name ends in .parquet, not .*vectors.csv"),
        (("--embeddings", "none/vectors.parquet"), "no folder for .*none/vectors.parquet"),
        (("--embeddings", "there.parquet"), "there.parquet exists; give another --embeddings, or --overwrite"),
        (("--embeddings-dtype", "float16"), "--embeddings-dtype says how --embeddings are kept"),
    ],
)
def test_what_cannot_be_written_is_refused(source, run_folder, tmp_path, options, message):
    (tmp_path / "there.parquet").touch()
    named = [tmp_path / option if option.endswith(("csv", "parquet")) else option for option in options]
    with pytest.raises(UsageError, match=message):
        score(run_folder, source, tmp_path, *named)
    assert [path.name for path in tmp_path.iterdir()] == ["there.parquet"]


@pytest.mark.trial
@pytest.mark.peers("duckdb")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_nearest_in_duckdb_by_the_line_of_the_page_are_those_of_numpy(source, run_folder, tmp_path, dtype):
    score(run_folder, source, tmp_path, "--embeddings", tmp_path / "embeddings.parquet", "--embeddings-dtype", dtype)
    [query] = re.findall(r"^```sql\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert "path = 'a.wav'" in query
    code = "import duckdb, json, sys; print(json.dumps(duckdb.sql(sys.argv[1]).fetchall()))"
    python = ENVIRONMENTS / "duckdb" / "bin" / "python"
    query = query.replace("path = 'a.wav'", "path = 'z3.wav'")
    done = subprocess.run([python, "-I", "-c", code, query], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    table = pq.read_table(tmp_path / "embeddings.parquet")
    paths, starts, values = table["path"].to_pylist(), table["start_seconds"].to_pylist(), vectors(table).astype("f8")
    one = values[paths.index("z3.wav")]
    likeness = values @ one / np.linalg.norm(values, axis=1) / np.linalg.norm(one)
    assert found[0][:2] == ["z3.wav", 0.0]
    assert len(found) == 20
    assert [row[2] for row in found] == pytest.approx(np.sort(likeness)[::-1][:20].tolist(), abs=1e-6)
    by_place = dict(zip(zip(paths, starts, strict=True), likeness.tolist(), strict=True))
    assert all(by_place[path, start] == pytest.approx(alike, abs=1e-6) for path, start, alike in found)
