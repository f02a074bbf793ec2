"""Pages in a real browser: the distribution's Chromium, which `make browser` installs by this module, and Playwright.

A test asks for the fixture `visit` and opens a file as a person does, from the disk, or the address of a server of its
own. What no page may do fails the test at its end: an error or a warning in the console, an exception, a dialog, a
request that leaves the page, or its server.
"""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# The variable names a browser of another place; where it is set, a test that lacks one fails instead of being skipped.
VARIABLE = "SOUNDMILL_BROWSER"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_PACKAGE = "chromium"
_WITHIN_THE_PAGE = ("file:", "data:", "blob:")
# A page plays when a person has pressed something on it; without the option a press by Playwright would not always do.
_OPTIONS = ("--autoplay-policy=no-user-gesture-required",)
_INSTALL_SECONDS = 400
_AUDIO = "const audio = document.getElementById('player')"


@functools.cache
def executable() -> str | None:
    """Returns the browser that answers when it is asked for its version, None where there is none."""
    named = os.environ.get(VARIABLE)
    for name in [named] if named else _NAMES:
        program = shutil.which(name)
        # A name alone does not tell: on Ubuntu one of these says how to install a snap, and ends.
        if program and subprocess.run([program, "--version"], capture_output=True, timeout=60).returncode == 0:
            return program
    return None


def missing() -> str:
    """Returns what a test is skipped with, nothing where there is a browser."""
    if executable():
        return ""
    named = os.environ.get(VARIABLE)
    return f"{named}, which {VARIABLE} names, is no browser" if named else "there is no Chromium: run `make browser`"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, for the tests of a file: Playwright's loop of events would be in the way of other files'."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable(), args=_OPTIONS)
        yield started
        started.close()


def watch(context: Any, server: str | None = None) -> list[str]:
    """Returns a list that grows by what the pages of a browser's context do and no page may.

    Args:
        context: of the browser.
        server: the beginning of addresses that its pages may request beside what is in them.
    """
    within = (*_WITHIN_THE_PAGE, *filter(None, [server]))
    faults: list[str] = []

    def on_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            faults.append(f"console {message.type}: {message.text}")

    def on_request(request: Any) -> None:
        if not request.url.startswith(within):
            faults.append(f"request: {request.url}")

    def on_dialog(dialog: Any) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def on_page(page: Any) -> None:
        page.on("websocket", on_request)  # which is no request to the browser

    context.on("console", on_message)
    context.on("weberror", lambda error: faults.append(f"exception: {error.error}"))
    context.on("request", on_request)
    context.on("page", on_page)
    context.on("dialog", on_dialog)
    return faults


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Any]]:
    """A function that opens a file or an address in a new profile of the browser, and returns the page.

    Options are those of `new_context`.
    """
    opened = []

    def visit(place: Path | str, **options: Any) -> Any:
        context = browser.new_context(**options)
        context.set_default_timeout(10_000)
        opened.append((context, watch(context, None if isinstance(place, Path) else place.rpartition("/")[0] + "/")))
        page = context.new_page()
        page.goto(place.as_uri() if isinstance(place, Path) else place)
        return page

    yield visit
    for context, _ in opened:
        context.close()
    assert [fault for _, faults in opened for fault in faults] == []


def accessibility_faults(page: Any) -> list[str]:
    """Returns what axe-core calls serious or critical of a page as it stands, each with the elements."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{fault['id']}, {fault['impact']}: {', '.join(str(node['target']) for node in fault['nodes'])}"
        for fault in Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def audio(page: Any, expression: str) -> Any:
    """Returns what an expression of JavaScript says of the page's one player, `audio`."""
    return page.evaluate(f"() => {{ {_AUDIO}; return {expression}; }}")


def wait_for_audio(page: Any, condition: str) -> None:
    """Waits until a condition in JavaScript holds for the player: one that stays true, as a busy machine looks late."""
    page.wait_for_function(f"() => {{ {_AUDIO}; return {condition}; }}")


def downloaded(page: Any, act: Callable[[], object], folder: Path) -> Path:
    """Does what makes a page offer a file, and returns where that lies, under the name that the page gave it."""
    with page.expect_download() as waited:
        act()
    path = folder / waited.value.suggested_filename
    waited.value.save_as(path)
    return path


def install() -> str:
    """Installs the distribution's Chromium where that can be done, and returns a sentence on what came of it."""
    if executable():
        return f"The browser of the tests is {executable()}."
    if os.environ.get(VARIABLE):
        return f"There is no browser to test with: {missing()}."
    if not shutil.which("apt-get"):
        return f"There is no browser to test with, and no apt-get to install one: install Chromium, or set {VARIABLE}."
    if os.geteuid():
        return f"There is no browser to test with: run `apt-get install {_PACKAGE}` as root, or set {VARIABLE}."
    # Lists of packages that are missing or old are fetched; what hinders that is said by the second try.
    failure = _apt_get("install", "-y", "--no-install-recommends", _PACKAGE)
    if failure:
        _apt_get("update")
        failure = _apt_get("install", "-y", "--no-install-recommends", _PACKAGE)
    if failure:
        return f"There is no browser to test with: {failure}."
    executable.cache_clear()
    return install() if executable() else f"There is no browser to test with: {_PACKAGE} of this system does not start."


def _apt_get(*arguments: str) -> str:
    """Runs it, which waits for another process of dpkg; returns what went wrong, nothing where all is well."""
    waits = ("DPkg::Lock::Timeout=300", "Acquire::http::Timeout=30", "Acquire::https::Timeout=30", "Acquire::Retries=1")
    command = ["apt-get", "--quiet", *(f"-o{wait}" for wait in waits), *arguments]
    shown = " ".join(["apt-get", *arguments])
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        return f"`{shown}` took more than {_INSTALL_SECONDS} s"
    said = done.stderr.strip().splitlines() or ["it gives no reason"]
    return f"`{shown}` failed: {said[-1]}" if done.returncode else ""


if __name__ == "__main__":
    print(install())
