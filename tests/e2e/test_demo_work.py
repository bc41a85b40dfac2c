"""The demo's job and text in a real browser: the same in every tab, after reloads, slowness and a killed server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.demo_model import model_server
from tests.e2e.demo_page import WAIT_MS, DemoPage, OpenTab
from tests.e2e.demo_server import DemoServer


def test_progress_completes_in_every_tab(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.select_option("#job-scope", "asyncio")
    ada.page.click("#job-form button")
    eve = open_tab("Eve")  # comes while it runs, or later
    for tab in (ada, ben, eve):
        tab.expect_text("#jobs b", "Pack and checksum asyncio, for Ada")
        tab.expect_text("#jobs .percent", "done")
        assert tab.page.locator("#jobs progress").get_attribute("value") == "100"
        assert re.search(r"SHA-256 [0-9a-f]{16}", tab.page.locator("#jobs .what").inner_text())
        tab.expect_unbroken()


def test_failed_job_says_what_people_may_know(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.select_option("#job-scope", "missing")
    ada.page.click("#job-form button")
    for tab in (ada, ben):
        tab.expect_text("#jobs .percent", "failed")
        tab.expect_text("#jobs .what", "The folder does not exist.")


def test_job_is_cancelled_by_another_tab(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.click("#job-form button")
    ben.expect_text("#jobs .percent", re.compile(r"\d+ %"))
    ben.page.get_by_role("button", name="Cancel").click()
    for tab in (ada, ben):
        tab.expect_text("#jobs .percent", "cancelled")
        expect(tab.page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_text_goes_on_after_a_reload_which_shows_all_of_it_at_once(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.select_option("#job-scope", "missing")  # so that there are two values to be told
    ada.page.click("#job-form button")
    ben.expect_text("#jobs .percent", "failed")
    ada.page.click("#text-form button")
    ben.expect_text("#prose", re.compile(r".{60}", re.DOTALL))
    before = ben.prose()
    ben.page.reload()
    ben.expect_text("#prose", re.compile(re.escape(before) + ".{30}", re.DOTALL))
    assert ben.page.evaluate("window.firstProse").startswith(before)
    ben.page.get_by_role("button", name="Stop").click()
    for tab in (ada, ben):
        tab.expect_text("#text-source", re.compile("not a language model · stopped"))
        tab.expect_unbroken()
    assert ada.prose() == ben.prose()


def test_slow_tab_shows_the_newest_state_and_the_whole_text(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.select_option("#job-scope", "asyncio")
    ada.page.click("#job-form button")
    ada.page.click("#text-form button")
    ben.expect_text("#prose", re.compile(r".{10}", re.DOTALL))
    for _ in range(3):
        ben.freeze(1)
    ada.page.get_by_role("button", name="Stop").click()
    for tab in (ada, ben):
        tab.expect_text("#jobs .percent", "done")
        tab.expect_text("#text-source", re.compile("stopped"))
        tab.expect_unbroken()
    assert ada.prose() == ben.prose()
    assert ada.problems == ben.problems == []


def test_second_text_waits_for_the_first(open_tab: OpenTab) -> None:
    ada, ben = open_tab("Ada"), open_tab("Ben")
    ada.page.click("#text-form button")
    expect(ben.page.locator("#sheet")).to_have_attribute("data-status", "running", timeout=WAIT_MS)
    ben.page.click("#text-form button")
    ben.expect_text(".text .answer", "A text is being written. Wait for it, or stop it.")
    ben.page.get_by_role("button", name="Stop").click()
    ben.expect_text("#text-source", re.compile("stopped"))
    ben.page.fill("#text-prompt", "Another one")
    ben.page.click("#text-form button")
    for tab in (ada, ben):
        tab.expect_text("#asked", "“Another one”, for Ben")
        assert tab.problems == [] or tab is ben  # the browser notes the refusal


@pytest.mark.timeout(120)
def test_killed_server_is_told_of_by_its_successor(server: DemoServer, open_tab: OpenTab) -> None:
    tab = open_tab("Ada")
    tab.page.click("#text-form button")
    tab.page.click("#job-form button")
    tab.expect_text("#prose", re.compile(r".{10}", re.DOTALL))
    tab.expect_text("#jobs .percent", re.compile(r"\d+ %"))
    server.kill()
    server.start()
    tab.expect_text("#jobs .percent", "lost")
    tab.expect_text("#text-source", re.compile("lost: its server has stopped"))


@pytest.mark.timeout(120)
def test_journal_that_is_begun_anew_leaves_nothing_on_the_page(server: DemoServer, open_tab: OpenTab) -> None:
    tab = open_tab("Ada")
    tab.page.click("#text-form button")
    tab.page.select_option("#job-scope", "missing")
    tab.page.click("#job-form button")
    tab.expect_text("#jobs .percent", "failed")
    tab.expect_text("#prose", re.compile(r".{10}", re.DOTALL))
    server.kill()
    server.forget()
    server.start()
    expect(tab.page.locator("#jobs li")).to_have_count(0, timeout=WAIT_MS)
    expect(tab.page.locator("#sheet")).to_have_attribute("data-status", "empty", timeout=WAIT_MS)
    assert tab.prose() == ""
    tab.expect_text("#text-source", "by a local Markov chain, not a language model")


def test_text_comes_from_a_model_where_one_is_named(browser: Browser, tmp_path: Path) -> None:
    pieces = ["Hello", " from", " a\u2028model", ".\n", "<i>Bye</i>"]
    with model_server(pieces) as model:
        named = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "k-123", "OPENAI_MODEL": "tiny"}
        with DemoServer(tmp_path, named) as server:
            tab = DemoPage(browser, server.url, "Ada")
            tab.page.fill("#text-prompt", "Say hello")
            tab.page.click("#text-form button")
            tab.expect_text("#text-source", "by tiny at 127.0.0.1")
            expect(tab.page.locator("#sheet")).to_have_attribute("data-status", "completed", timeout=WAIT_MS)
            assert tab.prose() == "".join(pieces)
            tab.context.close()
    assert model.asked[0]["path"] == "/v1/chat/completions"
    assert model.asked[0]["messages"] == [{"role": "user", "content": "Say hello"}]
    assert model.keys == ["Bearer k-123"]


def test_model_failure_is_told_kindly(browser: Browser, tmp_path: Path) -> None:
    with model_server([], status=401) as model:
        named = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "k-123", "OPENAI_MODEL": "tiny"}
        with DemoServer(tmp_path, named) as server:
            tab = DemoPage(browser, server.url, "Ada")
            tab.page.click("#text-form button")
            tab.expect_text("#text-source", "by tiny at 127.0.0.1 · The text service refused the key.")
            assert "secret inner text" not in tab.page.content()
            tab.context.close()
