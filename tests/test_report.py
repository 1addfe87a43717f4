"""`report`: what the page says, that nothing in it is obeyed, and how it looks and works in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lxml import html

from gguf_bench import dataset
from gguf_bench.cli.commands import cli
from gguf_bench.store import Store
from tests.chromium import Page, chromium, needs_chromium
from tests.reported_store import USUAL, Made, reported

pytest.importorskip("vl_convert", reason="the extra `report` is not installed")

from gguf_bench.report import charts, strips, write_report
from gguf_bench.report.marking import marked
from gguf_bench.report.places import Box, Place, Point, at_level, placed

HOSTILE = (
    "<script>document.title='owned'</script></script><!--<img src=x onerror=alert(1)>{{7*7}}{%x%}&amp;"
    "\u202e\x1b[2J\u2028"
)
"""What a document, a model's answer, a name or an error may hold."""
SPELLED_OUT = HOSTILE.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b").replace("\u2028", "\\u2028")


def written(store: Path, *run_ids: int) -> Path:
    """The report of run 1, or of `run_ids`, beside the store."""
    target = store.with_name("report.html")
    with closing(Store(store)) as opened:
        write_report(run_ids or (1,), lambda: opened, target)
    return target


def text_of(path: Path) -> str:
    """All that the page says, the narrow twins of its charts left out."""
    tree = html.fromstring(path.read_bytes())
    for element in tree.xpath("//style | //script | //div[@class='narrow']"):
        element.drop_tree()
    return " ".join(tree.text_content().split())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reported(tmp_path_factory.mktemp("report") / "r.db")


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that comes from elsewhere is hostile: texts, labels, answers, names, errors, places."""
    documents = [
        replace(
            document,
            id=f"{number}{HOSTILE if number < 3 else ''}",
            company=f"{HOSTILE}{number}",
            text=f"{HOSTILE}\n{document.text}\n{HOSTILE}",
            period=HOSTILE,
            tier=("plain", HOSTILE)[number % 2],
        )
        for number, document in enumerate(dataset.limit(dataset.load("eps-v1"), 20).documents)
    ]
    made = [
        Made(f"m{number}{HOSTILE}", "Q8_0", 0.3 * number, 100 * number + 50, 8.5, 5.0 + number, HOSTILE, output=HOSTILE)
        for number in range(3)
    ]
    made.append(Made(f"m0{HOSTILE}", "Q2_K", 0.2, 20, 3.0, 9.0))
    made.append(Made("wreck", "Q4_0", 0, 1, 4.5, 1.0, error=HOSTILE))
    path = tmp_path_factory.mktemp("hostile") / "r.db"
    return reported(path, made, documents=documents, name=HOSTILE)


@pytest.fixture(scope="module")
def report(store: Path) -> Path:
    return written(store)


@pytest.fixture(scope="module")
def hostile_report(hostile_store: Path) -> Path:
    return written(hostile_store)


# The parts


def test_figures_are_found_by_their_digits() -> None:
    text = "EPS of $(0.57), .57 or 0.570; 57 cents; not 10.57, 0.571, 0.57,1 or 57 people; a year ago 1.2 and 12."
    pieces = marked(text, ["-0.57"], [1.2, 12.0])
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.mark == "gold"] == ["0.57", ".57", "0.570", "57"]
    assert [piece.text for piece in pieces if piece.mark == "wrong"] == ["1.2", "12"]


@pytest.mark.parametrize(("gold", "wrong"), [([], []), (["0", "0.00"], [0.0]), (["NaN"], [float("inf")])])
def test_what_is_no_figure_marks_nothing(gold: list[str], wrong: list[float]) -> None:
    assert [piece.mark for piece in marked("0 and 0.00", gold, wrong)] == [""]


def test_a_figure_that_was_meant_is_not_wrong() -> None:
    assert [piece.mark for piece in marked("1.50", ["1.5"], [1.5])] == ["gold"]


def test_labels_cover_neither_points_nor_each_other() -> None:
    points = [Point(40.0 + 9 * number, 80.0 + number, 60.0, 100.0, f"label {number}") for number in range(12)]
    places = placed(points, [(40.0, 80.0), (148.0, 91.0)], 400, 200)
    boxes = []
    for point, place in zip(points, places, strict=True):
        if place is not None:
            wide = 7.2 * len(point.label)
            left = place.x - {"left": 0, "center": wide / 2, "right": wide}[place.align]
            boxes.append(Box(left, place.y - 7, left + wide, place.y + 7))
    assert 2 <= len(boxes) < len(points)
    for number, box in enumerate(boxes):
        assert 0 <= box.left <= box.right <= 400
        assert 0 <= box.top <= box.bottom <= 200
        assert not any(box.overlap(other) for other in boxes[:number])
        assert not any(box.overlap(Box(point.x - 4, point.y - 4, point.x + 4, point.y + 4)) for point in points)


def test_no_label_is_nearer_to_another_point() -> None:
    """Below its own interval a label may stand beside the next one's point."""
    one, other = Point(100.0, 50.0, 20.0, 120.0, "a long name"), Point(50.0, 130.0, 125.0, 135.0, "")
    walls = [Point(x, 50.0, 0.0, 110.0, "") for x in (85.0, 115.0)]
    assert placed([one, other, *walls], [], 400, 150)[0] is None
    far_away = other._replace(x=300.0)
    assert placed([one, far_away, *walls], [], 400, 150)[0] == Place(100.0, 130.0, "center")


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], Place(400, 91.6, "right")),
        ([Point(380, 92, 92, 92, "")], Place(0, 91.6, "left")),
        ([Point(380, 92, 92, 92, ""), Point(20, 92, 92, 92, "")], Place(400, 108.4, "right")),
        ([Point(380, 100, 60, 140, ""), Point(20, 92, 92, 92, "")], Place(0, 108.4, "left")),
    ],
)
def test_a_levels_label_stands_where_it_covers_least(taken: list[Point], expected: Place) -> None:
    assert at_level("null 17.1", 100, 400, taken, [], [None] * len(taken)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("axis", "words"),
    [
        (charts.size_axis([84 * 2**20, 138 * 2**20]), ["80 MiB", "100 MiB", "120 MiB", "140 MiB"]),
        (charts.size_axis([200 * 2**20, 4 * 2**30]), ["256 MiB", "512 MiB", "1 GiB", "2 GiB", "4 GiB"]),
        (charts.size_axis([3 * 2**30, 5 * 2**30]), ["3 GiB", "3.5 GiB", "4 GiB", "4.5 GiB", "5 GiB"]),
        (charts.speed_axis([12.0]), ["11.6", "11.8", "12", "12.2", "12.4"]),
        (charts.bits_axis([2.6, 8.5]), ["3", "4", "5", "6", "7", "8"]),
    ],
    ids=["small", "wide", "large", "one", "bits"],
)
def test_axes_are_written_at_round_numbers(axis: charts.Axis, words: list[str]) -> None:
    assert list(axis.words.values()) == words
    assert all(0 <= axis.share(value) <= 1 for value in axis.words)


def test_a_forest_has_room_for_every_interval_and_for_zero() -> None:
    pairs = [
        strips.Pair(
            label=f"{low}", words="", about="", difference=(low + high) / 2, low=low, high=high, is_shown=low > 0
        )
        for low, high in ((31.0, 52.0), (-4.5, 6.0))
    ]
    drawn = strips.forest(pairs)
    first, second = (strip.interval for strip in drawn.strips)
    assert first is not None
    assert second is not None
    assert drawn.zero is not None
    assert 0 < second.low < drawn.zero < second.at < second.high < first.low < first.at < first.high < 100
    assert (first.is_shown, second.is_shown) == (True, False)
    assert [word for _, word in drawn.ticks] == ["0", "10", "20", "30", "40", "50"]
    assert drawn.ticks[0] == (drawn.zero, "0")
    assert all(0 <= at <= 100 for at, _ in drawn.ticks)


def test_a_pair_that_is_alike_has_a_forest_too() -> None:
    pair = strips.Pair(label="", words="", about="", difference=0.0, low=0.0, high=0.0, is_shown=False)
    assert strips.forest([pair]).zero == 50


def test_parts_of_a_bar_follow_each_other() -> None:
    (strip,) = strips.parts(
        [strips.Bar(label="m", words="", parts=[(60.0, "a", ""), (0.0, "b", ""), (40.0, "c", "")])]
    ).strips
    assert [(part.begin, part.length, part.colour) for part in strip.segments] == [(0, 60, "a"), (60, 40, "c")]


# The command


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)])


def test_it_writes_one_file_and_prints_its_path(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("--db", store, "report")
    assert (found.exit_code, found.stdout, found.stderr) == (0, "report.html\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    first = (tmp_path / "report.html").read_bytes()
    assert run("--db", store, "report", 1).exit_code == 0  # takes the place of the first one
    assert (tmp_path / "report.html").read_bytes() == first


def test_it_replaces_nothing_but_a_report(store: Path, tmp_path: Path) -> None:
    other, pipe = tmp_path / "thesis.html", tmp_path / "pipe"
    other.write_text("<!doctype html><p>mine</p>" + 5000 * " " + '<meta name="generator" content="gguf-bench 0.1.0">')
    os.mkfifo(pipe)
    for target, says in ((other, "no report of gguf-bench"), (tmp_path, "is a folder"), (pipe, "no regular file")):
        found = run("--db", store, "report", "-o", target)
        assert (found.exit_code, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
        assert says in found.stderr
        assert "-o" in found.stderr
    assert "mine" in other.read_text()


def test_mistakes_are_one_line(store: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    Store(empty).close()
    for database, arguments, says in (
        (store, ["7"], "no run 7"),
        (tmp_path / "none.db", [], "no store"),
        (empty, [], "no run"),
        (store, ["-o", "/dev/null/x.html"], "/dev/null"),
    ):
        found = run("--db", database, "report", *arguments)
        assert (found.exit_code, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
        assert says in found.stderr


def test_without_the_extra_it_says_how_to_get_it(store: Path) -> None:
    script = "import sys; sys.modules['vl_convert'] = None\nfrom gguf_bench.cli import main; main()"
    command = [sys.executable, "-c", script, "--db", str(store), "report"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (found.returncode, found.stdout, len(found.stderr.splitlines())) == (1, "", 1)
    assert "pip install 'gguf-bench[report]'" in found.stderr


def test_it_imports_what_it_needs(store: Path, tmp_path: Path) -> None:
    """Each of these takes longer to import than a report has time for; vl-convert is another process's."""
    script = (
        "import sys, atexit; from gguf_bench.cli import main\n"
        "slow = {'rich', 'tqdm', 'vl_convert', 'scipy.stats', 'pandas'}\n"
        "atexit.register(lambda: print(*(slow & sys.modules.keys())))\n"
        "main()"
    )
    command = [sys.executable, "-c", script, "--db", str(store), "report", "-o", "r.html"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert (found.stdout, found.stderr) == ("r.html\n\n", "")


# The page


def test_the_page_says_it_all(store: Path, report: Path) -> None:
    said = text_of(report)
    with closing(Store(store)) as opened:
        best, *_ = opened.leaderboard(1)
        files = opened.rows("select sha256 from artifacts join contenders on sha256 = file_sha256")
    assert best["model"] == "baseline_rules"
    for words in (
        "zorp_3b Q8_0 scores highest of 7",
        "wreck_7b Q4_0 failed: reading wreck died (SIGSEGV)",
        "bloop_1b Q4_0: 3 of 60 documents do not fit its context; each scores 0",
        "bloop_1b Q2_K: 20 of 60 answers could not be read; each scores 0",
        "zorp_3b Q8_0 is better than bloop_1b Q2_K by",
        "n = 60 documents",
        "gguf-bench compare zorp_3b -q Q8_0 -q Q4_K_M -q Q2_K --limit 60 --excerpt 6000 --parallel 8",
        "quantized from made-up/zorp_3b at " + "c" * 40,
        "d" * 64,
        "Quellmark 9000, 8 physical cores",
        "llama_cpp 0.3.36",
        "Setting kv type f16",
        "1 of 10 contenders failed",
        "I would rather not say.",
        *(row["sha256"] for row in files),
    ):
        assert words in said


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    made = [Made(f"m{n:02}", "Q4_0", 0.2 + n / 80, 100 + n, 4.5, 30 - n / 2) for n in range(43)]
    documents = dataset.limit(dataset.load("eps-v1"), 20).documents
    said = text_of(written(reported(tmp_path / "r.db", made, documents=documents)))
    assert "The 3 lowest scores are left out." in said  # of 43 in a chart
    assert "Drawn are 40 pairs with" in said
    assert "863 others are left out" in said  # of 43 * 42 / 2
    assert "503 are left out" in said  # verdicts in words
    assert re.search(r"Of 20 documents that 43 contenders read apart, the 12 .* are shown, 8 left out", said)
    assert "Of answers, the 12 best contenders' are shown, 33 left out." in said


def test_a_run_without_texts_says_so(tmp_path: Path) -> None:
    said = text_of(written(reported(tmp_path / "r.db", USUAL[:2], with_texts=False)))
    assert "The text is not stored: the run was made by an earlier version." in said


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    documents = [replace(each, text="x" * 20_000) for each in dataset.limit(dataset.load("eps-v1"), 4).documents]
    store = reported(tmp_path / "r.db", USUAL[:2], documents=documents, with_texts=False)
    with closing(Store(store)) as opened:
        kept = {"text_chars": 20_000, "excerpt_chars": 20_000, "gold_figures": 0, "gold_kept": 0, "lost": None}
        opened.save_excerpts(1, [{"document_id": each.id, "text": each.text, **kept} for each in documents])
    said = text_of(written(store))
    assert "8,000 characters more are not shown" in said
    assert "x" * 12_000 in said
    assert "x" * 12_001 not in said


@pytest.mark.parametrize(
    "made", [[], USUAL[-1:], USUAL[:1], [replace(USUAL[0], share=1.0)], [replace(USUAL[0], n_over_context=60)]]
)
def test_any_run_has_a_page(tmp_path: Path, made: list[Made]) -> None:
    said = text_of(written(reported(tmp_path / "r.db", made)))
    assert "Leaderboard" in said
    assert "nan" not in said.lower().split()


def test_a_run_that_goes_on_is_said_to(tmp_path: Path) -> None:
    store = reported(tmp_path / "r.db", USUAL[:2])
    with closing(Store(store)) as opened:
        opened.set_run(1, status="interrupted", finished=None)
    assert "Run 1 is not finished (interrupted)" in text_of(written(store))


def test_several_runs_are_one_page(tmp_path: Path) -> None:
    reported(tmp_path / "r.db", USUAL[:1], name="first")
    store = reported(tmp_path / "r.db", USUAL[3:5], name="second")
    said = text_of(written(store, 1, 2))
    assert "first and second" in said
    assert all(f"{each.model} {each.quant}" in said for each in (USUAL[0], *USUAL[3:5]))
    assert "--name first" in said
    assert "--name second" in said


def test_the_page_asks_for_nothing(report: Path) -> None:
    tree = html.fromstring(report.read_bytes())
    addresses = {
        str(value) for name in ("src", "href", "action", "data", "poster") for value in tree.xpath(f"//@{name}")
    }
    assert addresses == {"data:,"}
    (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert "default-src 'none'" in policy
    assert "url(" not in report.read_text()
    assert "@import" not in report.read_text()


def test_markup_of_models_and_documents_is_text(hostile_report: Path) -> None:
    path = hostile_report
    tree = html.fromstring(path.read_bytes())
    assert len(tree.xpath("//script")) == 1
    assert tree.xpath("//img") == []
    assert tree.xpath("//comment()") == []
    assert tree.xpath("//*[@onerror or @onload or @onclick]") == []
    raw = path.read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", raw)
    assert "{{7*7}}" in raw
    spelled = " ".join(SPELLED_OUT.split())
    said = text_of(path)
    assert said.count(spelled) > 30
    for each in ("excerpt", "output", "troubles", "files", "board", "heatmap", "verdicts", "made-by"):
        (first, *_) = tree.xpath(f"//*[contains(concat(' ', @class, ' '), ' {each} ')]")
        assert "<script>document.title='owned'</script>" in first.text_content(), each
    for place in (
        "//div[@class='strips']/span/text()",
        "//div[@class='strips']//@aria-label",
        "//div[@class='wide']//@aria-label",
    ):
        assert any(spelled[:15] in text for text in tree.xpath(place)), place


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def opened(browser: Page, report: Path) -> Page:
    return shown(browser, report)


def shown(browser: Page, path: Path, width: int = 1280) -> Page:
    browser.console.clear()
    browser.asked.clear()
    browser.blocked.clear()
    browser.look(width)
    browser.open(path.as_uri())
    assert browser.asked.pop(0) == path.as_uri()
    return browser


def names(page: Page) -> list[str]:
    script = (
        "[...document.querySelectorAll('.board tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].firstChild.data)"
    )
    return list(page.run(script))


DRAWN = """[...document.querySelectorAll('.chart')].map(chart => {
    const isNarrow = matchMedia('(max-width: 700px)').matches;
    const drawing = chart.querySelector((isNarrow ? '.narrow' : '.wide') + ', .any, .strips');
    const marks = [...drawing.querySelectorAll('[role="graphics-symbol"]')].map(mark => mark.getBoundingClientRect());
    const frame = drawing.getBoundingClientRect();
    const inside = box => box.left >= frame.left - 1 && box.right <= frame.right + 1 && box.width > 1 && box.height > 1;
    return [chart.id, marks.length, marks.every(inside), frame.width <= innerWidth && frame.height > 60];
})"""


@needs_chromium
@pytest.mark.parametrize("width", [1280, 360])
def test_every_chart_is_drawn(opened: Page, width: int) -> None:
    opened.look(width)
    assert opened.run("getComputedStyle(document.querySelector('.wide')).display") == (
        "block" if width > 700 else "none"
    )
    drawn = {name: rest for name, *rest in opened.run(DRAWN)}
    assert {name: marks for name, (marks, _, _) in drawn.items()} == {
        "size": 7,
        "speed": 7,
        "curve-0": 3,
        "curve-1": 4,
        "forest": 21,
        "parts": drawn["parts"][0],
    }
    assert drawn["parts"][0] > 40
    assert all(inside and fits for _, inside, fits in drawn.values())


@needs_chromium
def test_nothing_is_complained_of_or_asked_for(opened: Page) -> None:
    opened.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    opened.look(360, dark=True)
    opened.pdf()
    assert (opened.console, opened.asked) == ([], [])


@needs_chromium
def test_a_complaint_and_a_request_could_be_seen(browser: Page, tmp_path: Path) -> None:
    """The test above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('heard')</script><img src='http://elsewhere.example/x.png'>")
    shown(browser, bad)
    assert "heard" in browser.console
    assert "http://elsewhere.example/x.png" in browser.asked


@needs_chromium
@pytest.mark.parametrize("width", [1280, 1000, 701, 700, 360])
def test_the_page_never_scrolls_sideways(opened: Page, width: int) -> None:
    opened.look(width)
    opened.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run("document.body.getBoundingClientRect().right") <= width


@needs_chromium
def test_the_board_is_sorted_by_mouse_and_keyboard(opened: Page) -> None:
    before = names(opened)
    head = "[...document.querySelectorAll('.board thead th')].find(h => h.textContent.startsWith('Size'))"
    opened.run(f"{head}.firstChild.click()")
    assert opened.run(f"{head}.getAttribute('aria-sort')") == "descending"
    by_size = names(opened)
    assert by_size[:2] == ["wreck_7b Q4_0", "zorp_3b Q8_0"]
    assert set(by_size[-2:]) == {"baseline_rules", "baseline_null"}  # no size: last either way
    opened.run(f"{head}.firstChild.focus()")
    opened.key("Enter", 13)
    assert opened.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert names(opened)[0] == "bloop_1b Q2_K"
    assert set(names(opened)[-2:]) == {"baseline_rules", "baseline_null"}
    opened.run("document.querySelector('.board thead button').click()")
    assert opened.run("document.querySelectorAll('[aria-sort]').length") == 1
    assert names(opened) == sorted(before)


@needs_chromium
def test_the_board_is_filtered(opened: Page) -> None:
    field = "document.querySelector('.filter input')"
    opened.run(f"{field}.value = 'BLOOP q4', {field}.dispatchEvent(new Event('input'))")
    assert names(opened) == ["bloop_1b Q4_0"]
    assert opened.run("document.querySelector('.filter output').textContent") == "1 of 10"
    opened.run(f"{field}.value = '', {field}.dispatchEvent(new Event('input'))")
    assert len(names(opened)) == 10


@needs_chromium
def test_a_mark_that_is_pointed_at_says_what_it_is(opened: Page) -> None:
    opened.run("document.getElementById('size').scrollIntoView()")
    mark = "document.querySelector('#size .wide [role=\"graphics-symbol\"]')"
    x, y = opened.run(f"(b => [b.left + b.width / 2, b.top + b.height / 2])({mark}.getBoundingClientRect())")
    assert opened.run("document.getElementById('tip').hidden")
    opened.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert not opened.run("document.getElementById('tip').hidden")
    assert "bits per weight" in opened.run("document.getElementById('tip').textContent")


@needs_chromium
def test_light_dark_and_paper_have_colours_of_their_own(opened: Page) -> None:
    colours = (
        "[getComputedStyle(document.body).backgroundColor,"
        "...['text', '[role=graphics-symbol]'].map(each => document.querySelector(`#size .wide svg ${each}`))"
        ".map(each => getComputedStyle(each).fill)]"
    )
    light = opened.run(colours)
    opened.look(1280, dark=True)
    dark = opened.run(colours)
    assert all(one != other for one, other in zip(light, dark, strict=True))
    assert light[0] == "rgb(255, 255, 255)"
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    opened.send("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert opened.run(colours) == light


@needs_chromium
def test_it_prints(opened: Page) -> None:
    was_open = opened.run("document.querySelectorAll('details[open]').length")
    pdf = opened.pdf()
    assert pdf.startswith(b"%PDF-")
    assert 4 <= len(re.findall(rb"/Type ?/Page\b", pdf)) <= 20
    assert opened.run("document.querySelectorAll('details[open]').length") == was_open


@needs_chromium
def test_nothing_hostile_is_obeyed(browser: Page, hostile_report: Path) -> None:
    page = shown(browser, hostile_report)
    page.run("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.run("document.title").startswith("<script>document.title='owned'</script>")
    assert page.run("document.querySelectorAll('script').length") == 1
    assert page.run("document.querySelectorAll('img').length") == 0
    assert SPELLED_OUT in page.run("document.querySelector('.excerpt').textContent")
    labels = page.run(
        "[...document.querySelectorAll('#size .wide [aria-label]')].map(e => e.getAttribute('aria-label'))"
    )
    assert any(SPELLED_OUT in label for label in labels)
    assert (page.console, page.asked) == ([], [])
    for width in (1280, 360):
        page.look(width)
        assert page.run("document.documentElement.scrollWidth") <= width


@needs_chromium
def test_what_got_in_all_the_same_would_not_run(opened: Page) -> None:
    """The page's own policy is the second wall: neither a script nor a request."""
    opened.run(
        "document.body.insertAdjacentHTML('beforeend', '<img src=http://elsewhere.example/ onerror=document.title=1>');"
        "const script = document.createElement('script'); script.textContent = 'document.title = 2';"
        "document.body.append(script)"
    )
    opened.run("new Promise(done => setTimeout(done, 200))")
    assert opened.run("document.title").startswith("a comparison")
    assert opened.blocked == opened.asked == ["http://elsewhere.example/"]
