"""The page that a person judges on, in a real browser: by mouse and keys, through a reload, a restart, and attacks."""

import http.client
import shutil
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from assay.datasets.errors import ConfigError
from assay.relabeling.judges import HumanJudge, JudgeError
from assay.relabeling.judges.store import AnswerStore, Question

from .grey import grey_pairs, random_pairs

GOAL = "make it <b>bright</b>"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_HOME", str(tmp_path))
    return tmp_path


class Judging:
    """A judge at work in a thread, and the address of its page."""

    def __init__(self, capfd, pairs, **parameters):
        self.result = self.error = None
        self._judge = HumanJudge(open_browser=False, **parameters)
        self._thread = threading.Thread(target=self._run, args=(pairs,), daemon=True)
        self._thread.start()
        text, deadline = "", time.monotonic() + 20
        while "http://" not in text and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.02)
            text += capfd.readouterr().err
        self.address = text.strip().rpartition(" ")[2]
        self.said = text

    def _run(self, pairs):
        try:
            self.result = self._judge.judge(pairs, GOAL)
        except Exception as error:
            self.error = error

    def wait(self):
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self


def request(address, method="GET", path="", body=None, **headers):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request(method, parts.path + path, body, headers)
    reply = connection.getresponse()
    found = reply.status, reply.read()
    connection.close()
    return found


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1280,900",
        "--disable-dev-shm-usage",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = selenium.Chrome(options=options, service=selenium.ChromeService(driver))
    yield window
    window.quit()


def until(condition):
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def count(browser):
    return browser.find_element("id", "count").text


def press(browser, key):
    before = count(browser)
    browser.find_element("tag name", "body").send_keys(key)
    until(lambda: count(browser) != before)


def click(browser, name):
    before = count(browser)
    browser.find_element("id", name).click()
    until(lambda: count(browser) != before)


def brighter_side(browser):
    """Look at both images as the browser drew them."""
    script = """
    const shade = (id) => {
      const image = document.getElementById(id), canvas = document.createElement("canvas");
      canvas.width = canvas.height = 1;
      const context = canvas.getContext("2d");
      context.drawImage(image, 0, 0, 1, 1);
      return context.getImageData(0, 0, 1, 1).data[0];
    };
    return ["image-left", "image-right"].every((id) => document.getElementById(id).complete
      && document.getElementById(id).naturalWidth) ? [shade("image-left"), shade("image-right")] : null;
    """
    shown = []
    until(lambda: shown.append(browser.execute_script(script)) or shown[-1] is not None)
    return "left" if shown[-1][0] > shown[-1][1] else "right"


def judge_by_looking(browser, how):
    from selenium.webdriver.common.keys import Keys

    side = brighter_side(browser)
    if how == "keys":
        press(browser, Keys.ARROW_LEFT if side == "left" else Keys.ARROW_RIGHT)
    else:
        click(browser, side)


@pytest.mark.slow
def test_a_person_judges_by_mouse_and_keys_through_a_reload_and_a_restart(browser, home, capfd):
    from selenium.webdriver.common.keys import Keys

    pairs, truth = random_pairs(8, seed=3)
    first = Judging(capfd, pairs)
    assert "8 of 8 pairs to judge" in first.said
    browser.get(first.address)
    until(lambda: count(browser) == "0 of 8 answered")
    assert browser.find_element("id", "goal").text == GOAL  # as text, not as HTML
    judge_by_looking(browser, "mouse")
    judge_by_looking(browser, "keys")
    press(browser, "u")
    assert count(browser) == "1 of 8 answered"
    judge_by_looking(browser, "keys")
    browser.refresh()
    until(lambda: count(browser) == "2 of 8 answered")
    judge_by_looking(browser, "mouse")
    browser.find_element("id", "stop").click()
    until(lambda: "Stopped for now" in browser.find_element("id", "closed-text").text)
    assert "5 of 8 pairs unanswered" in str(first.wait().error)

    second = Judging(capfd, pairs)  # the program again
    assert "5 of 8 pairs to judge" in second.said
    browser.get(second.address)
    until(lambda: count(browser) == "3 of 8 answered")
    for _ in range(3):
        judge_by_looking(browser, "keys")
    press(browser, Keys.ARROW_DOWN)
    press(browser, "s")
    until(lambda: browser.find_element("id", "end").is_displayed())
    assert browser.switch_to.active_element.get_attribute("id") == "finish"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    answers = second.wait().result
    assert answers.tolist() == [*truth[:6].tolist(), -1, -1]
    with AnswerStore(home / "judgements.sqlite") as store:
        assert store.counts(Question("human:me", "1", GOAL)) == {"answer": 6, "equal": 1, "skipped": 1}
    problems = [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "favicon" not in entry["message"]
    ]
    assert problems == []
    assert HumanJudge(open_browser=False).judge(pairs, GOAL).tolist() == answers.tolist()  # needs no page any more


@pytest.mark.slow
def test_clips_play_and_a_narrow_dark_page_fits(browser, home, capfd):
    pairs = grey_pairs(np.arange(6).reshape(1, 6) * 20, np.arange(6).reshape(1, 6) * 40)
    judging = Judging(capfd, pairs)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    try:
        browser.get(judging.address)
        seen = set()
        until(lambda: seen.add(browser.find_element("id", "image-left").get_attribute("src")) or len(seen) >= 4)
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert back == "rgb(20, 24, 30)"
        for name in ("left", "right", "equal", "skip", "stop"):
            box = browser.find_element("id", name).rect
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 400
            assert box["height"] >= 44
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    request(judging.address, "POST", "stop", "{}")
    assert isinstance(judging.wait().error, JudgeError)


def test_only_who_knows_the_address_may_look_or_answer(home, capfd):
    pairs, _ = random_pairs(2)
    judging = Judging(capfd, pairs)
    address = judging.address
    root = f"{urlsplit(address).scheme}://{urlsplit(address).netloc}/"
    for path in ("", "state", "wrong-token/state", "../etc/passwd"):
        assert request(root, path=path)[0] == 404
    assert request(root, "POST", "answer", '{"pair": 0, "choice": "left"}')[0] == 404
    assert request(address, path="state", Host="evil.example")[0] == 404
    assert request(address, path="state")[0] == 200
    for body in (
        "{}",
        "[]",
        "3",
        "nonsense",
        '{"pair": 7, "choice": "left"}',
        '{"pair": 0, "choice": "up"}',
        "[" * 3000,
    ):
        assert request(address, "POST", "answer", body)[0] == 400
    assert request(address, "POST", "answer", "x" * 5000)[0] == 400
    assert request(address, path="frame/0/left/9")[0] == 404
    assert request(address, path="frame/9/left/0")[0] == 404
    assert request(address, path="frame/0/left/0")[1][:4] == b"\x89PNG"
    assert request(address, "POST", "finish", "{}")[0] == 200  # not complete: goes on
    request(address, "POST", "stop", "{}")
    assert "2 of 2 pairs unanswered" in str(judging.wait().error)


def test_a_key_pressed_twice_answers_one_pair_once(home, capfd):
    pairs, _ = random_pairs(2)
    judging = Judging(capfd, pairs)
    for choice in ("left", "right"):
        request(judging.address, "POST", "answer", f'{{"pair": 0, "choice": "{choice}"}}')
    request(judging.address, "POST", "stop", "{}")
    judging.wait()
    with AnswerStore(home / "judgements.sqlite") as store:
        assert len(store) == 1


def test_people_have_answers_of_their_own_and_a_taken_port_is_said(home, capfd):
    pairs, _ = random_pairs(1)
    judging = Judging(capfd, pairs, person="ada")
    port = urlsplit(judging.address).port
    with pytest.raises(ConfigError, match=f"port {port}"):
        HumanJudge(person="bob", open_browser=False, port=port).judge(pairs, GOAL)
    request(judging.address, "POST", "answer", '{"pair": 0, "choice": "equal"}')
    request(judging.address, "POST", "finish", "{}")
    assert judging.wait().result.tolist() == [-1]
