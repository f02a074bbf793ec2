"""featurize and score on Spark give the bytes of a local run."""

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.trial]


@pytest.fixture(scope="module")
def spark(engine):
    """Spark of two tasks at once, in one process."""
    return engine("spark", 1, 2)


@pytest.mark.parametrize("command", ["featurize", "score"])
def test_spark_gives_the_bytes_of_a_local_run(spark, make_job, unbroken, tmp_path, command):
    job = make_job(command, tmp_path)
    spark.run(job.module, *job.words)
    assert job.content() == unbroken[command]
