"""Chromium for the tests of the page: fixtures that open it from the disk, and what the tests say to it."""

import functools
import os
import shutil

import page
import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@functools.cache
def chromium():
    """Where Chromium is. Fails where there is none."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert found, "these tests need Chromium: apt-get install chromium, or set CHROMIUM"
    return found


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of photo 9 on the disk."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page.html").write_text(page.text(), "utf-8")
    return folder


@pytest.fixture
def visit(browser, folder, request):
    """A function that opens the page and waits for its self-check; at the end there was no request and no error."""
    contexts, trouble = [], []

    def open_page(address="", file="page.html", wait=True, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        tab = context.new_page()
        tab.route(
            "**/*",
            lambda route: (
                route.continue_()
                if route.request.url.startswith("file://") and ".html" in route.request.url
                else (trouble.append(f"request: {route.request.url}"), route.abort())
            ),
        )
        tab.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        tab.on(
            "console",
            lambda message: (
                trouble.append(f"console: {message.text}") if message.type in ("error", "warning") else None
            ),
        )
        tab.goto(f"file://{folder / file}{address}")
        if wait:
            until(tab, "document.documentElement.matches('.ready, .failed')", 60)
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []


def until(tab, condition, seconds=60):
    """Wait for a condition in the page. (Playwright's own waiting needs eval, which the page forbids.)"""
    for _ in range(seconds * 20):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"{condition} did not come true in {seconds} s; the page says: {tab.inner_text('#report')}")


def state(tab, name):
    return tab.evaluate(f"App.A.S.{name}")


def focus_lab(tab, step="F3"):
    tab.evaluate(f"App.go('{step}')")
    assert tab.evaluate("document.activeElement.closest('.lab') !== null")
