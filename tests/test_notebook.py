"""Runs the notebooks of examples/ from the first cell to the last, each in a kernel of its own."""

from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def outputs(notebook, kind: str) -> list[str]:
    """Returns what cells have shown of a kind: a MIME type, or `text` for what was written to standard output."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found += [output["text"]] if kind == "text" and output.output_type == "stream" else []
            found += [output["data"][kind]] if kind in output.get("data", {}) else []
    return found


def test_there_are_notebooks_and_they_hold_no_results():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        assert not [cell for cell in cells if cell.outputs or cell.execution_count], path


@pytest.mark.trial
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, 4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    pictures, text = outputs(notebook, "image/png"), "".join(outputs(notebook, "text"))
    assert len(pictures) >= 4
    assert sum("<audio" in html for html in outputs(notebook, "text/html")) >= 4
    assert "0 computed the second time" in text
    # What was put into the recording that is labelled at the end.
    assert {line.split(",")[3] for line in text.splitlines() if line.startswith("minute.flac,")} >= {"leak", "bearing"}
