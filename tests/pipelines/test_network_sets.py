"""A feature set whose front end is a network: the copy of the network, and what becomes of it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import soundmill
from features.errors import RunError, UsageError
from features.frontend.clip import clip_waveform
from features.frontend.presets import NetworkChoice, load_spec
from features.frontend.spectrogram import FrontEnd
from features.io.filesystem import filesystem_of
from features.maintenance.removal import prune
from features.maintenance.repair import repair
from features.maintenance.shard_check import Part
from features.maintenance.verification import verify
from features.pictures.comparison import compare
from features.pictures.examples import load_examples
from features.store import versions
from features.store.inventory import take_inventory, unreferenced
from features.store.layout import NETWORKS
from features.store.manifest import load_manifest
from features.store.summary import describe as describe_set
from features.store.summary import figures_of, lines_of
from features.update.dry_run import describe
from features.update.request import Request
from features.update.update import CacheRules
from features.verify import main as verify_command
from features.verify import parser as verify_parser
from tests.conftest import call, start_command, wait_until
from tests.features.examples import TINY, changed
from tests.features.networks.small import (
    RATE_HZ,
    small_features,
    small_network,
    small_spec,
    small_weights,
    write_small_network,
)
from tests.held import SHARD, held_at
from tests.object_store.faults import Faults
from tests.pipelines.sets import LONG_AGO_SECONDS, differences, featurize, named
from tests.real_networks import BIRDNET
from tests.signals import noise, write_wav

SAMPLES = RATE_HZ // 4
SPEC = small_spec()
LICENCE = "CC BY-NC-SA 4.0"
GOLDEN = Path(__file__).parents[1] / "golden" / "features-v5"


def add(root: Path, *numbers: int) -> None:
    for number in numbers:
        path = root / ("no", "yes")[number % 2] / f"{number:02d}_nohash_0.wav"
        write_wav(path, noise(SAMPLES, seed=number), RATE_HZ)
        # What changed within the last seconds is hashed, and what is older is not: two sets of one source would differ.
        os.utime(path, (LONG_AGO_SECONDS + number,) * 2)


@pytest.fixture
def clips(tmp_path) -> Path:
    """Twenty recordings of a quarter of a second, in two classes."""
    add(tmp_path / "clips", *range(20))
    return tmp_path / "clips"


@pytest.fixture
def network(tmp_path) -> str:
    """The file of the network that a user has."""
    return str(write_small_network(tmp_path / "Vögel 2.tflite"))


def asked(root: Path, output: object, file: str | None, spec=SPEC, **fields) -> Request:
    choice = NetworkChoice(file, LICENCE if file else None, None)
    return Request(str(root), str(output), spec, network=choice, split=(100, 0, 0), **fields)


def copy_in(folder: Path) -> Path:
    return folder / "networks" / (SPEC.network_name or "")


def test_the_network_is_copied_and_need_not_be_given_again(clips, network, tmp_path):
    folder = tmp_path / "set"
    assert asked(clips, folder, network).read().bytes > os.path.getsize(network)
    manifest, figures = featurize(asked(clips, folder, network))
    assert asked(clips, folder, network).read().bytes < os.path.getsize(network)
    assert copy_in(folder).read_bytes() == Path(network).read_bytes()
    assert manifest.format_version == 5
    assert manifest.network == figures["network"] == {
        "file": SPEC.network_name, "name": "Vögel 2.tflite", "bytes": os.path.getsize(network),
        "licence": LICENCE, "source": None,
    }  # fmt: skip
    assert manifest.versions["ai-edge-litert"]
    assert load_manifest(folder) == manifest
    assert verify(manifest.layout(folder), manifest) == []
    opened = soundmill.open_features(folder)
    for number in (0, 7, 19):
        path = f"{('no', 'yes')[number % 2]}/{number:02d}_nohash_0.wav"
        waveform = np.round(noise(SAMPLES, seed=number) * 32767) / 32768
        expected = small_features(waveform.astype(np.float32)).mean(axis=0)
        np.testing.assert_allclose(opened.array(path), expected, rtol=1e-3, atol=1e-4)

    os.unlink(network)
    before = named(folder)
    _, again = featurize(asked(clips, folder, None))
    assert (again["computed"], again["committed"], again["network"]) == (0, False, manifest.network)
    assert differences(before, named(folder)) == []
    add(clips, 20, 21)
    more, figures = featurize(asked(clips, folder, None))
    assert (figures["computed"], figures["kept"], more.network) == (2, 20, manifest.network)
    said = NetworkChoice(None, None, "the birds' own")
    sourced, figures = featurize(replace(asked(clips, folder, None), network=said))
    assert (figures["computed"], figures["committed"]) == (0, True)
    assert sourced.network == {**manifest.network, "source": "the birds' own"}


def test_a_set_of_spectrograms_knows_nothing_of_networks(clips, network, tmp_path):
    with pytest.raises(UsageError, match="--network-file is for a front end that is a network, and this one is stft"):
        featurize(asked(clips, tmp_path / "set", network, TINY))
    manifest, _ = featurize(asked(clips, tmp_path / "set", None, TINY))
    assert (manifest.network, manifest.format_version) == (None, 3)
    assert not (tmp_path / "set" / "networks").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: None, "has no copy of the network with the sha256 .*give its file with --network-file"),
        (lambda path: path, "is another network than the spec names: tflite with the sha256 "),
        (lambda path: path.write_bytes(b"RIFF") and path, "this is no network that can be run"),
        (lambda path: path.unlink() or path, "there is no such network"),
    ],
)
def test_without_the_network_nothing_is_written(clips, tmp_path, spoil, message):
    given = spoil(write_small_network(tmp_path / "other.tflite", seed=1))
    for act in (featurize, describe):
        with pytest.raises(UsageError, match=message):
            act(asked(clips, tmp_path / "set", None if given is None else str(given)))
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"window_samples": 801},
            r"Vögel 2.tflite: the network takes windows of 800 samples, but the spec says window_",
        ),
        (
            {"embedding_size": 7},
            r"Vögel 2.tflite: the network gives 6 values a window, but the spec says embedding_size",
        ),
        ({"network_output": "nowhere"}, r"Vögel 2.tflite: .*nowhere"),
        ({"network_format": "onnx"}, "is another network than the spec names: tflite with"),
    ],
)
def test_a_network_that_is_not_what_the_spec_says_is_refused_before_anything_is_written(
    clips, network, tmp_path, fields, message
):
    for act in (featurize, describe):
        with pytest.raises(UsageError, match=message) as refused:
            act(asked(clips, tmp_path / "set", network, small_spec(**fields)))
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "set").exists()


def test_a_network_that_gives_no_numbers_is_refused_before_anything_is_written(clips, tmp_path):
    second = small_weights()[1]
    content = small_network().replace(second.tobytes(), np.full_like(second, np.nan).tobytes())
    (tmp_path / "broken.tflite").write_bytes(content)
    spec = changed(SPEC, network_sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(UsageError, match=r"^broken.tflite: the network gives no finite number[^\n]*$"):
        featurize(asked(clips, tmp_path / "set", str(tmp_path / "broken.tflite"), spec))
    assert not (tmp_path / "set").exists()


def test_another_network_tensor_or_hop_is_another_set_and_is_named(clips, network, tmp_path):
    folder, other = tmp_path / "set", str(write_small_network(tmp_path / "other.tflite", seed=1))
    featurize(asked(clips, folder, network))
    before = named(folder)
    sha256, of_other = SPEC.network_sha256, small_spec(1).network_sha256
    for file, spec, named_as in (
        (
            other,
            small_spec(1),
            rf"network_sha256: {sha256[:16]}… \(Vögel 2.tflite\) against {of_other[:16]}… \(other.tf",
        ),
        (network, small_spec(hop_samples=800), "another spec: hop_samples: 400 against 800 "),
        (network, small_spec(network_output="hidden", embedding_size=16), "network_output: None against hidden"),
        (network, small_spec(pool="max"), "another spec: pool: mean against max "),
    ):
        with pytest.raises(UsageError, match=named_as):
            featurize(asked(clips, folder, file, spec))
    assert differences(before, named(folder)) == []
    assert [path.name for path in (folder / "networks").iterdir()] == [SPEC.network_name]


def test_a_damaged_copy_is_found_and_put_back(clips, network, tmp_path, capsys):
    folder, other = tmp_path / "set", write_small_network(tmp_path / "other.tflite", seed=1)
    manifest, _ = featurize(asked(clips, folder, network))
    layout, content = manifest.layout(folder), copy_in(folder).read_bytes()
    damages = (
        lambda: copy_in(folder).write_bytes(content[:-1] + bytes([content[-1] ^ 1])),
        lambda: copy_in(folder).write_bytes(content[:-9]),
        copy_in(folder).unlink,
    )
    for damage in damages:
        damage()
        found = verify(layout, manifest)
        assert [(one.name, one.part) for one in found] == [(SPEC.network_name, Part.NETWORK)]
        assert repair(layout, manifest, found) == (
            [], {SPEC.network_name: "its file is not in the set; give it with --network-file"}
        )  # fmt: skip
        with pytest.raises(UsageError, match="is another network than the spec names"):
            repair(layout, manifest, found, network_file=str(other))
        assert repair(layout, manifest, found, network_file=network) == ([], {})
        assert copy_in(folder).read_bytes() == content
    assert verify(layout, manifest) == []
    copy_in(folder).unlink()
    assert verify_command(verify_parser().parse_args([str(folder)]), []) == 1
    printed = capsys.readouterr()
    assert "the file of the network is missing" in printed.out
    assert "The network, Vögel 2.tflite, is not in the set as it was" in printed.err + printed.out
    options = [str(folder), "--repair", "--network-file", network]
    assert verify_command(verify_parser().parse_args(options), []) == 0
    with pytest.raises(UsageError, match="--network-file goes with --repair"):
        verify_command(verify_parser().parse_args([str(folder), "--network-file", network]), [])


def test_a_damaged_shard_is_made_again_with_the_network_and_named_without_it(clips, network, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    manifest, _ = featurize(asked(clips, folder, network))
    layout, before = manifest.layout(folder), named(folder)
    victim = layout.shard(manifest.all_shards[0].name)
    victim.write_bytes(b"\0" * victim.stat().st_size)
    copy_in(folder).unlink()
    monkeypatch.setattr("features.frontend.embedding._pools", {})  # a process that has not run the network yet
    found = verify(layout, manifest)
    made, failed = repair(layout, manifest, found)
    assert made == []
    assert failed.keys() == {SPEC.network_name, manifest.all_shards[0].name}
    assert repair(layout, manifest, found, network_file=network) == ([manifest.all_shards[0].name], {})
    assert differences(before, named(folder)) == []


def test_a_run_that_computes_puts_a_damaged_copy_back_and_one_without_the_file_says_so(clips, network, tmp_path):
    folder = tmp_path / "set"
    featurize(asked(clips, folder, network))
    content = copy_in(folder).read_bytes()
    copy_in(folder).write_bytes(b"\0" * len(content))
    add(clips, 20)
    with pytest.raises(
        RunError, match=r"is damaged: its .* bytes have the sha256 .*give the network with --network-file"
    ):
        featurize(asked(clips, folder, None))
    _, figures = featurize(asked(clips, folder, network))
    assert figures["computed"] == 1
    assert copy_in(folder).read_bytes() == content
    copy_in(folder).write_bytes(content[:-9])
    _, figures = featurize(asked(clips, folder, None))
    assert (figures["computed"], figures["committed"]) == (0, False), "what the manifest says of it stays"
    copy_in(folder).unlink()
    _, figures = featurize(asked(clips, folder, network))
    assert (figures["computed"], figures["committed"]) == (0, False)
    assert copy_in(folder).read_bytes() == content


def test_prune_knows_the_network_of_the_states_that_stay(clips, network, tmp_path):
    folder = tmp_path / "set"
    manifest, _ = featurize(asked(clips, folder, network))
    layout = manifest.layout(folder)
    of_another = folder / "networks" / f"{'0' * 64}.onnx"  # a run that was begun with it and given up
    partial = folder / "networks" / f"{SPEC.network_name}.12-0123abcd.partial"
    for path in (of_another, partial):
        path.write_bytes(b"1234")
    (folder / "networks" / "notes.txt").write_text("mine")
    inventory = take_inventory(layout)
    assert [file.path for file in inventory.files if file.kind == NETWORKS] == sorted(
        f"networks/{path.name}" for path in (of_another, copy_in(folder))
    )
    assert inventory.foreign == ["networks/notes.txt"]
    assert {file.path for file in unreferenced(layout, manifest).by_none} == {
        f"networks/{path.name}" for path in (of_another, partial)
    }
    assert {file.path for file in prune(str(folder)).going} == {
        f"networks/{path.name}" for path in (of_another, partial)
    }
    assert sorted(path.name for path in (folder / "networks").iterdir()) == sorted([copy_in(folder).name, "notes.txt"])
    assert verify(layout, manifest) == []


KILLED = """
import os, signal, sys
from features.frontend.presets import NetworkChoice
from features.update.request import Request
from tests.features.networks.small import small_spec
from tests.pipelines.sets import featurize

replace = os.replace
def stop(source, target, **options):
    if os.path.basename(os.path.dirname(target)) == "networks":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target, **options)
os.replace = stop
featurize(Request(sys.argv[1], sys.argv[2], small_spec(), network=NetworkChoice(sys.argv[3]), split=(100, 0, 0)))
"""


def test_a_run_that_is_killed_while_it_copies_the_network_is_gone_on_with(clips, network, tmp_path):
    folder = tmp_path / "set"
    done = subprocess.run([sys.executable, "-c", KILLED, clips, folder, network], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.suffix for path in (folder / "networks").iterdir()] == [".partial"]
    with pytest.raises(UsageError, match="has no copy of the network"):
        featurize(asked(clips, folder, None))
    manifest, _ = featurize(asked(clips, folder, network))
    assert [path.name for path in (folder / "networks").iterdir()] == [manifest.network["file"]]
    featurize(asked(clips, tmp_path / "unbroken", network))
    assert differences(named(folder), named(tmp_path / "unbroken")) == []


def test_windows_of_several_clips_fill_the_batches(clips, network, tmp_path, monkeypatch):
    spec = small_spec(clip_seconds=0.125)  # 2 windows
    windows, compute = [], FrontEnd.compute

    def counted(front_end, waveforms, out):
        windows.append(sum(spec.count_frames(len(waveform)) for waveform in waveforms))
        compute(front_end, waveforms, out)

    monkeypatch.setattr(FrontEnd, "compute", counted)
    add(clips, *range(20, 23))
    featurize(asked(clips, tmp_path / "set", network, spec))
    assert sum(windows) == 2 * 23
    assert sum(count % 4 != 0 for count in windows) == 1, "the last of the shard alone"
    windows.clear()
    add(clips, 0, *range(30, 32))
    write_wav(clips / "no" / "00_nohash_0.wav", noise(SAMPLES, seed=99), RATE_HZ)  # in a shard with copied rows
    featurize(asked(clips, tmp_path / "set", network, spec))
    assert sum(windows) == 2 * 3, "what is copied is not computed"


def test_a_shard_that_is_rewritten_by_copying_takes_no_network(clips, network, tmp_path, monkeypatch):
    featurize(asked(clips, tmp_path / "set", network))
    (clips / "no" / "00_nohash_0.wav").unlink()
    monkeypatch.setattr("features.update.members.FrontEnd", None)
    _, figures = featurize(asked(clips, tmp_path / "set", None))
    assert (figures["computed"], figures["removed"]) == (0, 1)


def test_another_version_of_the_runtime_is_seen_as_one_of_other_libraries_is(clips, network, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    manifest, _ = featurize(asked(clips, folder, network))
    here = versions.library_versions(SPEC)
    assert here.keys() - versions.library_versions().keys() == {"ai-edge-litert"}
    other = {**here, "ai-edge-litert": "99.0"}
    monkeypatch.setattr("features.store.commit.library_versions", lambda _: other)
    assert featurize(asked(clips, folder, None, rules=CacheRules(verify_content=True)))[0] == manifest
    with monkeypatch.context() as patch:  # a worker has another one than the driver
        patch.setattr("pipelines.featurize.library_versions", lambda _: other)
        add(clips, 20)
        with pytest.raises(RunError, match=f"ai-edge-litert {here['ai-edge-litert']}, not 99.0"):
            featurize(asked(clips, folder, None))
    assert featurize(asked(clips, folder, None))[0].versions["ai-edge-litert"] == "99.0"


def test_a_set_in_a_store_has_its_network_there(clips, network, tmp_path, s3, through):
    here, there = tmp_path / "set", f"{s3.uri}/deep/set"
    for output in (here, there):
        featurize(asked(clips, output, network))
    manifest = load_manifest(there)
    layout = manifest.layout(there)
    copy = layout.network(manifest.network["file"])
    assert differences(named(here), named(s3.folder / "deep" / "set")) == []
    assert filesystem_of(copy).read(copy) == copy_in(here).read_bytes()
    assert verify(layout, manifest) == []
    assert soundmill.open_features(there).clips().equals(soundmill.open_features(here).clips())
    faults = Faults()
    with through(faults):
        assert not featurize(asked(clips, there, None))[1]["committed"]
    assert faults.requests.total() < 40
    add(clips, 20)
    assert featurize(asked(clips, there, None))[1]["computed"] == 1
    filesystem_of(copy).write(copy, b"damaged")
    assert [damage.part for damage in verify(layout, load_manifest(there))] == [Part.NETWORK]
    assert repair(layout, load_manifest(there), verify(layout, load_manifest(there)), network_file=network) == ([], {})
    assert [file.path for file in prune(there).going if file.kind == NETWORKS] == []


def test_a_set_of_format_version_5_stays_readable(tmp_path):
    shutil.copytree(GOLDEN, tmp_path, dirs_exist_ok=True)
    root, folder = tmp_path / "recordings", tmp_path / "set"
    for number, path in enumerate(sorted(root.rglob("*.wav"))):
        os.utime(path, (LONG_AGO_SECONDS + number,) * 2)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"/recordings"', f'"{root}"'))
    manifest = load_manifest(folder)
    spec = manifest.spec  # whose network is the set's own, whatever bytes the present code gives it
    assert (manifest.format_version, spec.front_end, spec.shape) == (5, "embedding", (6,))
    assert (manifest.network["name"], manifest.network["licence"]) == ("Vögel 2.tflite", LICENCE)
    assert verify(manifest.layout(folder), manifest) == []
    opened, front_end = soundmill.open_features(folder), FrontEnd(spec, folder / "networks")
    computed = np.empty((1, *spec.shape), np.float32)
    for clip in opened.clips()["path"].to_pylist():
        front_end.compute([clip_waveform(str(root / clip), spec)[0]], computed)
        np.testing.assert_allclose(opened.array(clip), computed[0], rtol=1e-4, atol=1e-5)
    before = named(folder)
    assert not featurize(asked(root, folder, None, spec))[1]["committed"]
    assert differences(before, named(folder)) == []
    add(root, 20)
    assert featurize(asked(root, folder, None, spec))[1]["computed"] == 1


def test_show_says_whose_network_it_is_and_runs_it_for_one_file(clips, network, tmp_path, monkeypatch):
    manifest, _ = featurize(asked(clips, tmp_path / "set", network))
    layout, opened = manifest.layout(tmp_path / "set"), soundmill.open_features(tmp_path / "set")
    description = describe_set(layout, manifest)
    [line] = [line for line in lines_of(description) if line.startswith("network ")]
    assert line.split() == [
        "network",
        "Vögel",
        "2.tflite,",
        "52.2",
        "kB,",
        "kept",
        "as",
        f"networks/{SPEC.network_name}",
    ]
    assert f"            licence: {LICENCE}; source: not given" in lines_of(description)
    assert figures_of(description)["network"] == manifest.network
    path = "no/00_nohash_0.wav"
    comparison = compare(str(clips / path), manifest.spec, layout.networks_folder)
    np.testing.assert_array_equal(comparison.features, opened.array(path))
    monkeypatch.setattr(FrontEnd, "compute", None)
    examples = load_examples(description)
    assert len(examples) == 6
    for example in examples:
        np.testing.assert_array_equal(example.features, opened.array(example.path))
        assert example.trace is not None


@pytest.mark.trial
def test_a_set_keeps_a_network_of_each_format(clips, birdnet, tmp_path):
    """The same network for three runtimes, by the spec files that a user writes."""
    made = {}
    for name, output, kept, runtime in (
        ("nmp.tflite", "note", ".tflite", "ai-edge-litert"),
        ("nmp.onnx", "StatefulPartitionedCall:1", ".onnx", "onnxruntime"),
        ("nmp", "note", ".zip", "tensorflow"),
    ):
        toml = tmp_path / f"{name}.toml"
        toml.write_text(
            f'front_end = "embedding"\nsample_rate_hz = 22_050\nclip_seconds = 1.0\nwindow_samples = 43_844\n'
            f'hop_samples = 43_844\npool = "mean"\nembedding_size = {172 * 88}\nnetwork_output = "{output}"\n'
            f'network_file = "{os.path.relpath(birdnet / name, tmp_path)}"\nnetwork_licence = "Apache-2.0"\n'
        )
        choice, folder = load_spec(str(toml)), tmp_path / f"set-{kept[1:]}"
        request = Request(str(clips), str(folder), choice.spec, limit=4, network=choice.network)
        manifest, _ = featurize(request)
        assert manifest.network["name"] == name
        assert manifest.network["licence"] == "Apache-2.0"
        assert [path.suffix for path in (folder / "networks").iterdir()] == [kept]
        assert manifest.versions[runtime]
        assert verify(manifest.layout(folder), manifest) == []
        assert not featurize(replace(request, network=None))[1]["committed"]
        opened = soundmill.open_features(folder)
        made[name] = np.stack([opened.array(path) for path in sorted(opened.clips()["path"].to_pylist())])
    assert 0.01 < made["nmp.tflite"].max() <= 1
    for values in made.values():
        np.testing.assert_allclose(values, made["nmp.tflite"], atol=1e-4)


@pytest.mark.trial
def test_birdnet_gives_the_same_bytes_by_any_number_of_workers_and_after_a_kill(data, birdnet, tmp_path):
    of_clips = ("--input", data / "esc10" / "esc10.csv", "--path-template", "audio/{filename}")
    chosen = ("--label-column", "category", "--limit", 60, "--preset", "birdnet-2.4")
    file = ("--network-file", birdnet / BIRDNET)
    folders = [tmp_path / name for name in ("one", "two", "killed")]
    for folder, workers in zip(folders, (1, 2), strict=False):
        options = ("--output", folder, "--workers", workers)
        assert call("pipelines.featurize", *of_clips, *chosen, *file, *options) == 0
    waits = held_at(tmp_path, [2], SHARD, "pipelines.featurize")
    killed = start_command(*waits, *of_clips, *chosen, *file, "--output", folders[2], "--workers", 2)
    wait_until(lambda: list((folders[2] / "reports").glob("*.parquet")))
    killed.kill()
    killed.communicate()
    assert not (folders[2] / "manifest.json").exists()
    summary = tmp_path / "summary.json"
    options = ("--output", folders[2], "--workers", 1, "--summary", summary)
    assert call("pipelines.featurize", *of_clips, *chosen, *file, *options) == 0
    assert 0 < json.loads(summary.read_text())["computed"] < 60
    assert call("features.verify", folders[2]) == 0
    assert named(folders[0]) == named(folders[1]) == named(folders[2])
