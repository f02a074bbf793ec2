"""What the fixtures of the browser notice themselves: a test of a page would pass without them."""

from tests.browser import accessibility_faults, downloaded, executable, missing, watch

CALM = "<!doctype html><html lang=en><title>calm</title><main><h1>calm</h1></main>"
WRONG = """
<script>console.error('first')</script>
<script>console.warn('second')</script>
<script>throw new Error('third')</script>
<script>Promise.reject(new Error('fourth'))</script>
<img src="http://127.0.0.1:9001/fifth.png" alt="">
<script>fetch('https://127.0.0.1:9001/sixth').catch(() => {})</script>
<script>new WebSocket('ws://127.0.0.1:9001/seventh')</script>
<script>alert('eighth')</script>
"""
FORBIDDEN = """<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src 'none'"><title>-</title>
<script>document.title = 'ran'</script>"""


def faults_of(browser, path, content: str) -> list[str]:
    path.write_text(content, encoding="utf-8")
    context = browser.new_context()
    faults = watch(context)
    page = context.new_page()
    page.goto(path.as_uri())
    page.wait_for_load_state("networkidle")
    context.close()
    return faults


def test_what_no_page_may_do_is_noticed(browser, tmp_path):
    faults = faults_of(browser, tmp_path / "page.html", CALM + WRONG)
    assert {
        "console error: first",
        "console warning: second",
        "exception: third",
        "exception: fourth",
        "request: http://127.0.0.1:9001/fifth.png",
        "request: https://127.0.0.1:9001/sixth",
        "request: ws://127.0.0.1:9001/seventh",
        "dialog: eighth",
    } <= set(faults)


def test_what_a_policy_of_the_page_forbids_is_noticed(browser, tmp_path):
    [fault] = faults_of(browser, tmp_path / "page.html", FORBIDDEN)
    assert fault.startswith("console error: Executing inline script violates")


def test_what_a_page_may_do_is_no_fault(browser, tmp_path):
    may = "console.log('said'); new Image().src = 'data:,'; fetch(URL.createObjectURL(new Blob(['said'])))"
    assert faults_of(browser, tmp_path / "page.html", f"{CALM}<script>{may}</script>") == []


def test_what_hinders_people_is_noticed(visit, tmp_path):
    (tmp_path / "page.html").write_text(CALM, encoding="utf-8")
    page = visit(tmp_path / "page.html")
    assert accessibility_faults(page) == []
    page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    [fault] = accessibility_faults(page)
    assert fault.startswith("button-name, critical: ")


def test_a_file_that_a_page_offers_is_taken(visit, tmp_path):
    script = "const link = document.body.appendChild(document.createElement('a')); link.download = 'a.csv';"
    script += "link.href = URL.createObjectURL(new Blob(['x,y'])); link.textContent = 'offer'"
    (tmp_path / "page.html").write_text(f"{CALM}<script>{script}</script>", encoding="utf-8")
    page = visit(tmp_path / "page.html")
    path = downloaded(page, page.get_by_text("offer").click, tmp_path)
    assert (path.name, path.read_text()) == ("a.csv", "x,y")


def test_another_browser_is_named_by_a_variable(monkeypatch, tmp_path):
    (tmp_path / "other").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (tmp_path / "other").chmod(0o755)
    for name in (tmp_path / "other", tmp_path / "none"):
        monkeypatch.setenv("SOUNDMILL_BROWSER", str(name))
        executable.cache_clear()
        assert missing() == f"{name}, which SOUNDMILL_BROWSER names, is no browser"
    (tmp_path / "other").write_text("#!/bin/sh\necho 1.0\n", encoding="utf-8")
    monkeypatch.setenv("SOUNDMILL_BROWSER", str(tmp_path / "other"))
    executable.cache_clear()
    assert (executable(), missing()) == (str(tmp_path / "other"), "")
    executable.cache_clear()
