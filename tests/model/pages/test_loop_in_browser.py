"""The loop, as a person goes through it: train, hear the mistakes, say what is right, correct the set, train again."""

import json
import re

import soundmill
from tests.browser import downloaded, wait_for_audio
from tests.conftest import succeed
from tests.signals import write_words

SPEAKERS = 20
# Sounds in folders that are not theirs: folder, word that is heard, speaker.
PLANTED = [("high", "low", 3), ("high", "middle", 11), ("low", "high", 5), ("middle", "low", 8), ("middle", "high", 14)]


def test_what_is_heard_to_be_wrong_is_right_in_the_next_training(visit, tmp_path, capsys):
    words, features, page_file = tmp_path / "words", tmp_path / "set", tmp_path / "report.html"
    write_words(words, SPEAKERS)
    truth = {str(path.relative_to(words)): path.parent.name for path in words.rglob("*.wav")}
    for folder, word, speaker in PLANTED:
        path = f"{folder}/{speaker:08x}_nohash_1.wav"
        (words / word / f"{speaker:08x}_nohash_0.wav").rename(words / path)
        del truth[f"{word}/{speaker:08x}_nohash_0.wav"]
        truth[path] = word
    featurize = ("pipelines.featurize", "--input", words, "--output", features, "--preset", "urbansound-mfcc")
    learn = ("--features", features, "--network", "linear", "--output")
    succeed(*featurize)
    succeed("model.crossvalidate", "--splits", 3, *learn, tmp_path / "folds")  # no network learnt what it judges
    succeed("model.report", tmp_path / "folds", "--output", page_file)

    page = visit(page_file)
    mistakes = page.locator(".clip").count()
    marked = []
    for _ in range(mistakes):
        page.keyboard.press("j")
        path = page.locator(".clip.current .path").inner_text()
        page.keyboard.press("Space")
        wait_for_audio(page, "audio.currentTime > 0.05")
        if truth[path] == path.partition("/")[0]:
            page.keyboard.press("y")
        else:
            page.keyboard.press("l")
            page.keyboard.type(truth[path])
            page.keyboard.press("Enter")
            marked.append(path)
    assert len(marked) == len(PLANTED), "the network did not find them: this shows nothing of the loop"
    review = downloaded(page, lambda: page.keyboard.press("d"), tmp_path)
    assert len(review.read_text(encoding="utf-8").splitlines()) == 1 + mistakes

    summary = tmp_path / "summary.json"
    capsys.readouterr()
    succeed(*featurize, "--corrections", review, "--summary", summary)
    figures = json.loads(summary.read_text(encoding="utf-8"))
    assert (figures["computed"], figures["clips"]) == (0, len(truth))
    assert re.search(rf"\b{len(PLANTED)} labels corrected\b", capsys.readouterr().out)
    clips = soundmill.open_features(features).clips()
    assert dict(zip(clips["path"].to_pylist(), clips["label"].to_pylist(), strict=True)) == truth
    succeed("model.train", *learn, tmp_path / "run")
    heard = soundmill.load_model(tmp_path / "run").predict([words / path for path in sorted(truth)])
    assert heard["label"].to_pylist() == [truth[path] for path in sorted(truth)]
