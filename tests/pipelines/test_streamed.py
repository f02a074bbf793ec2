"""A FLAC that was streamed, so that its header names no length, is as good as any other."""

from features.frontend.presets import preset
from features.frontend.windows import Windowing
from features.sources.folder import scan
from features.store.layout import Layout
from features.store.manifest import load_manifest
from features.store.shards import read_shard
from model.scoring.plan import plan_batches
from tests.conftest import call
from tests.features.audio.test_decode import encoded, without_length
from tests.pipelines.conftest import make_old
from tests.signals import noise


def test_a_streamed_flac_is_featurized_and_planned_as_the_file_that_knows_its_length(tmp_path):
    whole = encoded(noise(40_000), "FLAC", "PCM_16")
    for name, content in (("whole", whole), ("streamed", without_length(whole))):
        (tmp_path / "words" / name).mkdir(parents=True)
        (tmp_path / "words" / name / "a.flac").write_bytes(content)
    make_old(tmp_path / "words")
    source = scan(str(tmp_path / "words"), labelled=True)
    plan = plan_batches(source.root, source.clips["path"].to_pylist(), preset("speech-commands"), Windowing())
    (batch,) = plan.batches()
    assert [unit.num_windows for unit in batch] == [3, 3]
    options = ("--input", tmp_path / "words", "--output", tmp_path / "set", "--split", "100/0/0")
    assert call("pipelines.featurize", *options, "--preset", "urbansound-mfcc") == 0
    manifest = load_manifest(tmp_path / "set")
    assert manifest.counts["seconds"] == 2 * 40_000 / 16_000
    (shard,) = manifest.all_shards
    content = read_shard(Layout(tmp_path / "set", "tfrecord"), shard, manifest.spec)
    assert content.features[0].tobytes() == content.features[1].tobytes()
