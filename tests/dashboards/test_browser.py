"""The pages in a real Chromium, served by a real server over a real database."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dashboards.server import serving
from shopfloor.access.doorkeeper import Doorkeeper
from shopfloor.access.gate import LockedGate
from shopfloor.access.users import UserFile, put_user
from store.database import connect, pool
from store.imports import ImportedValue, NewDocument, put_document, withdraw_document
from store.latest import LatestValue, upsert_latest
from store.readers import Scope

webdriver = pytest.importorskip("selenium.webdriver", reason="the browser tests need selenium")
printing = pytest.importorskip("selenium.webdriver.common.print_page_options")

pytestmark = pytest.mark.browser

PROJECT = "/projects/PL-TEST-001"
EXPLANATIONS = (f"{PROJECT}/explanation", f"{PROJECT}/kpis/saving/explanation")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (360, 740)
POLL_SECONDS = 15.0
A4 = printing.PrintOptions()
A4.set_page_size(printing.PrintOptions.A4)
TAB_KEY, ENTER_KEY = "\ue004", "\ue007"
"""Keys of the WebDriver standard (17.4.2, normalised key values)."""


@dataclass(frozen=True)
class Stored:
    """The filled database of `conftest.py`."""

    database_url: str


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "install chromium"
    assert driver, "install chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile: Path = tmp_path_factory.mktemp("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture
def address(factory: Stored) -> Iterator[str]:
    with serving(factory.database_url) as address:
        yield address


def show(browser: Any, url: str, size: tuple[int, int] = DESKTOP) -> None:
    """Opens a page in a window of the given size and waits for its charts."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get(url)
    wait_until(browser, "return [...document.querySelectorAll('[data-chart]')].every(e => e.dataset.drawn === 'yes')")


def wait_until(browser: Any, script: str) -> None:
    deadline = time.monotonic() + POLL_SECONDS
    while not browser.execute_script(script):
        assert time.monotonic() < deadline, f"never true: {script}"
        time.sleep(0.1)


def text_of(browser: Any) -> str:
    text: str = browser.execute_script("return document.body.innerText")
    return text.replace("\u202f", "")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("path", ["/", PROJECT, *EXPLANATIONS, "/live", "/incidents"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_pages_fit_and_raise_nothing(
    browser: Any, address: str, path: str, language: str, size: tuple[int, int]
) -> None:
    show(browser, f"{address}{path}?lang={language}", size)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.lang") == {"zh": "zh-CN", "en": "en"}[language]
    width = browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= size[0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_imported_document_fits(browser: Any, factory: Stored, language: str, size: tuple[int, int]) -> None:
    mapping = (
        "mapping: 1\nname: a-long-name\ntime: {period: day, column: 日期}\n"
        "series:\n  output: {column: 产量, quantity: good_count, unit: piece}\n"
    )
    name = "二号生产线二〇二五年七月生产日报表（修订）.xlsx"
    new = NewDocument("PL-TEST-001", "a-long-name", name, b"bytes", mapping, ["row 9: '合计' adds up other rows"])
    values = [ImportedValue("output", day * 86_400_000, (day + 1) * 86_400_000, 1234.5, day) for day in range(1, 40)]
    with connect(factory.database_url) as connection:
        stored, _ = put_document(connection, new, values, "张三", 1_751_000_000_000)
        withdraw_document(connection, stored.id, "李四", "漏了夜班的产量，重新提交", 1_751_100_000_000)
    with serving(factory.database_url) as address:
        for path in (PROJECT, f"{PROJECT}/documents/{stored.id}"):
            show(browser, f"{address}{path}?lang={language}", size)
            assert browser.get_log("browser") == []
            assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]


def test_charts_are_painted(browser: Any, address: str) -> None:
    show(browser, address + PROJECT)
    painted = browser.execute_script(
        """
        return [...document.querySelectorAll('[data-chart] canvas')].map(canvas => {
          const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
          const colours = new Set();
          for (let i = 0; i < pixels.length; i += 4) {
            if (pixels[i + 3] === 255) colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
          }
          return [canvas.width > 300, colours.has(0x1f66ad), colours.has(0xc06a00)];
        });
        """
    )
    daily, scatter = painted
    assert daily == [True, True, True]
    # The points of the scatter chart are translucent: only its line has a colour of its own.
    assert (scatter[0], scatter[2]) == (True, True)


def test_lost_days_are_breaks_in_the_chart(browser: Any, address: str) -> None:
    show(browser, address + PROJECT)
    data = browser.execute_script("return JSON.parse(document.querySelector('script[id^=data-daily]').textContent)")
    lost = [data["days"].index(day) for day in ("2025-07-13", "2025-08-30")]
    assert [data[column][index] for column in ("before", "after", "adjusted") for index in lost] == [None] * 6
    connected = browser.execute_script(
        """
        const chart = echarts.getInstanceByDom(document.querySelector('[data-chart=daily]'));
        return chart.getOption().series.filter(one => one.type === 'line').map(one => one.connectNulls);
        """
    )
    assert set(connected) == {False}


def test_numbers_on_the_page_are_those_of_the_data_behind_their_links(browser: Any, address: str) -> None:
    show(browser, f"{address}{PROJECT}?lang=en")
    text = text_of(browser)
    content = httpx2.get(f"{address}{PROJECT}/evidence.json").json()
    for kpi in content["evaluation"]["kpis"]:
        assert f"{kpi['change']:+.1%}".replace("-", "−") in text
    links = browser.execute_script("return [...document.querySelectorAll('.files a')].map(a => a.href)")
    assert len(links) >= 12
    for link in links:
        answer = httpx2.get(link)
        assert answer.status_code == 200
        # This factory's meters keep no history of their own: that file has its heading alone.
        assert len(answer.text.splitlines()) > (0 if link.endswith("/stored.csv") else 1)


def test_a_flipped_byte_is_named_after_reloading(browser: Any, address: str, factory: Stored) -> None:
    show(browser, f"{address}{PROJECT}?lang=zh")
    assert "达成" in text_of(browser)
    with connect(factory.database_url) as connection:
        connection.execute("UPDATE record SET data = set_byte(data, 200, 255 - get_byte(data, 200)) WHERE seq = 33")
    show(browser, f"{address}{PROJECT}?lang=zh")
    badges = browser.execute_script("return [...document.querySelectorAll('.verdict .badge')].map(e => e.textContent)")
    assert set(badges) == {"未证实"}
    alert = browser.execute_script("return document.querySelector('[role=alert]').innerText")
    assert "gw-01" in alert
    assert "#33" in alert
    assert browser.get_log("browser") == []


def test_the_live_page_follows(browser: Any, address: str, factory: Stored) -> None:
    show(browser, f"{address}/live?lang=en")
    assert "12,345.67 kWh" in text_of(browser)
    now_ms = time.time_ns() // 1_000_000
    with connect(factory.database_url) as connection:
        upsert_latest(
            connection, [LatestValue("gw-01/meter-1/active_energy_import", now_ms, 12399.5, "kWh", 0, now_ms)]
        )
    wait_until(browser, "return document.body.innerText.includes('12,399.50')")
    assert browser.get_log("browser") == []


def test_the_live_page_says_when_it_is_no_longer_current(browser: Any, factory: Stored) -> None:
    with serving(factory.database_url) as address:
        show(browser, f"{address}/live?lang=en")
        assert not browser.execute_script("return document.getElementById('lost').checkVisibility()")
    wait_until(browser, "return document.getElementById('lost').checkVisibility()")


def test_print_view(browser: Any, address: str) -> None:
    show(browser, f"{address}{PROJECT}?lang=zh")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        visible = "return document.querySelector(arguments[0]).checkVisibility()"
        assert not browser.execute_script(visible, "nav")
        assert browser.execute_script(visible, ".verdicts")
        assert browser.execute_script(visible, ".proof")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(browser.print_page())
    assert pdf.startswith(b"%PDF-")
    assert 1 <= pdf.count(b"/Type /Page\n") <= 6


@pytest.mark.parametrize("path", EXPLANATIONS)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_explanation_takes_one_sheet_of_paper(browser: Any, address: str, path: str, language: str) -> None:
    show(browser, f"{address}{path}?lang={language}")
    pdf = base64.b64decode(browser.print_page(A4))
    assert pdf.count(b"/Type /Page\n") == 1


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_of_an_explanation_lies_upon_another(browser: Any, address: str, size: tuple[int, int]) -> None:
    show(browser, address + EXPLANATIONS[1], size)
    overlapping = browser.execute_script(
        """
        const parts = [...document.querySelectorAll('.sections h2, .sections p, .sections li, .told, .verdict p')];
        const boxes = parts.map(e => [e, e.getBoundingClientRect()]);
        return boxes.flatMap(([a, p], i) => boxes.slice(i + 1)
          .filter(([b, q]) => p.left < q.right - 1 && q.left < p.right - 1)
          .filter(([b, q]) => p.top < q.bottom - 1 && q.top < p.bottom - 1)
          .map(([b]) => a.textContent + ' / ' + b.textContent));
        """
    )
    assert overlapping == []


def test_everything_can_be_reached_with_the_keyboard(browser: Any, address: str) -> None:
    show(browser, f"{address}{PROJECT}?lang=en")
    reached = []
    for _ in range(80):
        browser.switch_to.active_element.send_keys(TAB_KEY)
        name, target, outline = browser.execute_script(
            "const e = document.activeElement; const s = getComputedStyle(e);"
            "return [e.tagName, e.getAttribute('href') || e.getAttribute('aria-label') || '', s.outlineStyle]"
        )
        if name == "BODY":
            break
        reached.append((name, target))
        assert outline != "none", f"focus cannot be seen on {name} {target}"
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert reached[0] == ("A", "#content")
    assert set(links) <= {target for name, target in reached if name == "A"}


def test_text_has_enough_contrast(browser: Any, address: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1 for every text that stands on a plain ground."""
    for path in (PROJECT, *EXPLANATIONS, "/", "/live"):
        show(browser, f"{address}{path}?lang=en")
        poor = browser.execute_script(
            """
            const numbers = colour => (colour.match(/[0-9.]+/g) || []).map(Number);
            const light = ([r, g, b]) => {
              const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
              return 0.2126 * x + 0.7152 * y + 0.0722 * z;
            };
            const ground = element => {
              for (let e = element; e; e = e.parentElement) {
                const colour = numbers(getComputedStyle(e).backgroundColor);
                if (colour.length === 3 || colour[3] > 0) return colour;
              }
              return [255, 255, 255];
            };
            const poor = [];
            for (const e of document.body.querySelectorAll('*')) {
              const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
              if (!own || !e.checkVisibility() || e.closest('script, .hidden')) continue;
              const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
              const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
              if (ratio < 4.5) poor.push([e.tagName, e.className, e.textContent.trim().slice(0, 30), ratio]);
            }
            return poor;
            """
        )
        assert poor == []


@pytest.mark.parametrize("language", ["zh", "en"])
def test_login_by_keyboard_on_a_phone(browser: Any, factory: Stored, tmp_path: Path, language: str) -> None:
    users = tmp_path / "users.yaml"
    put_user(users, "li.wei", "correct horse battery staple")
    with pool(factory.database_url, 4) as connections:
        keeper = Doorkeeper(connections, UserFile(users))
        guard = partial(LockedGate, doorkeeper=keeper, scope=Scope.PROJECTS)
        with serving(factory.database_url, guard=guard) as address:
            show(browser, f"{address}/live?lang={language}", PHONE)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE[0]
            title = {"zh": "登录", "en": "Log in"}[language]
            assert browser.execute_script("return document.querySelector('h1').innerText") == title
            assert browser.execute_script("return document.activeElement.id") == "user"
            for password in ("wrong", "correct horse battery staple"):
                browser.switch_to.active_element.clear()
                browser.switch_to.active_element.send_keys("li.wei", TAB_KEY)
                assert browser.execute_script("return document.activeElement.id") == "password"
                browser.switch_to.active_element.send_keys(password, ENTER_KEY)
                if password == "wrong":
                    wait_until(browser, "return document.querySelector('[role=alert]') !== null")
            wait_until(browser, "return location.pathname === '/live'")
            wait_until(browser, "return document.querySelector('form.leave button') !== null")
            assert browser.execute_script("return document.cookie") == "", "scripts see no session"
            browser.find_element("css selector", "form.leave button").send_keys(ENTER_KEY)
            wait_until(browser, "return location.pathname === '/login'")
            show(browser, f"{address}/live", PHONE)
            assert browser.execute_script("return location.pathname") == "/login"
