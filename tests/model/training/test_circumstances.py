import datetime
import shutil
import subprocess

import pytest

from model.training.circumstances import circumstances, code_commit


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_a_commit_is_that_of_the_code_and_says_whether_it_was_changed(tmp_path):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=n", "-c", "user.email=n@example.org")
        return subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True,
                              text=True).stdout.strip()  # fmt: skip

    assert code_commit(tmp_path) is None
    git("init", "--quiet")
    assert code_commit(tmp_path) is None  # nothing is committed yet
    (tmp_path / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "--quiet", "-m", "first")
    commit = git("rev-parse", "HEAD")
    assert code_commit(tmp_path) == commit
    (tmp_path / "untracked.py").write_text("2\n")
    assert code_commit(tmp_path) == commit
    (tmp_path / "code.py").write_text("3\n")
    assert code_commit(tmp_path) == f"{commit}+"
    (tmp_path / "installed").mkdir()
    assert code_commit(tmp_path / "installed") is None


def test_a_training_says_when_and_where_it_was_begun():
    said = circumstances()
    begun = datetime.datetime.fromisoformat(str(said["begun"]))
    assert abs((datetime.datetime.now(datetime.UTC) - begun).total_seconds()) < 60
    assert said["machine"] and int(said["cores"]) >= 1
