"""`sitecnn explore` as a person meets it, in Chromium: how soon it is there, and how soon a key is answered.

    .venv/bin/python benchmarks/explore.py                    two cores, as the project's promise has it
    .venv/bin/python benchmarks/explore.py --only keys        one part of it: start, parts, keys or large

Promised: the page usable within 2 s of the command; from a key to new numbers of ResNet-50 on all shipped boards a
median of at most 150 ms. Leave the machine alone meanwhile.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from sitecnn.explore.answers import answers, load_stacks  # noqa: E402
from sitecnn.explore.details import details  # noqa: E402
from sitecnn.explore.question import Question, Source  # noqa: E402
from sitecnn.explore.reading import network_of  # noqa: E402
from sitecnn.explore.trials import trials  # noqa: E402
from tests.explore.chromium import EDITOR, chromium, open_page, served  # noqa: E402

NETWORK = HERE / "config" / "networks" / "resnet50.prototxt"
LAYER = 'top: "res5a_branch2a"\n        convolution_param { num_output: 512'
"""What is typed behind: the outputs of a convolution that only one other reads."""

WATCH = """() => {
    window.times = [];
    let pressed = null;
    document.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
    const shown = () => document.querySelector("table.answers td[data-v]")?.dataset.v;
    let last = shown();
    new MutationObserver(() => {
        if (shown() === last || pressed === null) return;
        last = shown();
        const since = pressed;
        pressed = null;
        requestAnimationFrame(() => setTimeout(() => window.times.push(performance.now() - since)));
    }).observe(document.querySelector("main"), {childList: true, subtree: true, characterData: true, attributes: true});
}"""


def start(root, browser, rounds=7):
    """From the command to numbers that are shown and a text that takes keys."""
    served_s, usable_s = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        with served(root, str(NETWORK)) as address:
            served_s.append(time.perf_counter() - began)
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.goto(address)
            page.wait_for_selector("table.answers td[data-v]")
            page.wait_for_function(f"{EDITOR}.state.doc.length > 1000")
            usable_s.append(time.perf_counter() - began)
            page.context.close()
    say("start: the address is printed", [1e3 * one for one in served_s])
    say("start: page usable, at most 2000", [1e3 * one for one in usable_s])


def keys(root, browser, presses=24):
    """From a key to new numbers: with the page at rest, and while layers, drawing and advice are still on their way."""
    with served(root, str(NETWORK)) as address:
        page = open_page(browser, address)
        page.evaluate(
            f"""([layer]) => {{
            const view = {EDITOR};
            const at = view.state.doc.toString().indexOf(layer) + layer.length;
            view.dispatch({{selection: {{anchor: at}}, scrollIntoView: true}});
            view.focus();
        }}""",
            [LAYER],
        )
        page.evaluate(WATCH)
        for what, pause_s in (("at rest, at most 150", 3.0), ("one each 0.4 s", 0.4)):
            page.evaluate("window.times.length = 0")
            for number in range(presses):
                page.keyboard.press("Backspace" if number % 2 else "0")
                time.sleep(pause_s)
            page.wait_for_function(f"window.times.length >= {presses // 2}")
            say(f"keys: numbers, {what}", page.evaluate("window.times"))
        page.context.close()


def resnet152():
    """ResNet-152's definition, as ResNet-50's with more blocks: about 700 layers, and Splits."""
    head = 'name: "ResNet-152" layer {{ name: "data" type: "Input" top: "data" {} }}'
    lines = [head.format("input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }")]

    def convolution(name, bottom, outputs, kernel, stride=1, relu=True):
        pad = kernel // 2
        numbers = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} bias_term: false"
        both = f'bottom: "{name}" top: "{name}"'
        lines.extend(
            [
                f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" '
                f"convolution_param {{ {numbers} }} }}",
                f'layer {{ name: "{name}_bn" type: "BatchNorm" {both} }}',
                f'layer {{ name: "{name}_scale" type: "Scale" {both} scale_param {{ bias_term: true }} }}',
                *([f'layer {{ name: "{name}_relu" type: "ReLU" {both} }}'] if relu else []),
            ]
        )
        return name

    last = convolution("conv1", "data", 64, 7, 2)
    pool = 'layer {{ name: "{0}" type: "Pooling" bottom: "{1}" top: "{0}" pooling_param {{ {2} }} }}'
    lines.append(pool.format("pool1", last, "kernel_size: 3 stride: 2"))
    last = "pool1"
    for stage, blocks in enumerate((3, 8, 36, 3)):
        width = 64 << stage
        for block in range(blocks):
            name, stride = f"res{stage + 2}_{block}", 2 if block == 0 and stage else 1
            side = convolution(f"{name}_side", last, 4 * width, 1, stride, relu=False) if block == 0 else last
            inner = convolution(f"{name}_a", last, width, 1, stride)
            inner = convolution(f"{name}_b", inner, width, 3)
            inner = convolution(f"{name}_c", inner, 4 * width, 1, relu=False)
            lines.append(f'layer {{ name: "{name}" type: "Eltwise" bottom: "{side}" bottom: "{inner}" top: "{name}" }}')
            lines.append(f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}')
            last = name
    lines.append(pool.format("pool5", last, "pool: AVE global_pooling: true"))
    fc = 'layer { name: "fc" type: "InnerProduct" bottom: "pool5" top: "fc" inner_product_param { num_output: 1000 } }'
    lines.append(fc)
    return "\n".join(lines)


FRAMES = """(move) => new Promise((done) => {
    const times = [];
    const scroller = document.querySelector(".drawing .scroller");
    const nodes = [...document.querySelectorAll("svg.graph .node")];
    let last = performance.now();
    let number = 0;
    const step = () => {
        const now = performance.now();
        times.push(now - last);
        last = now;
        if (number++ > 120) return done(times.slice(1));
        if (move === "scroll") scroller.scrollTop += 120;
        else nodes[number * 7 % nodes.length].dispatchEvent(new PointerEvent("pointerover", {bubbles: true}));
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


NODES = "document.querySelectorAll('svg.graph .node')"
CLICK = f"(number) => {NODES}[number].dispatchEvent(new MouseEvent('click', {{bubbles: true}}))"


def large(root, browser):
    """ResNet-152: until it is drawn, a frame while its drawing is scrolled or layers are hovered over, a choice."""
    file = root / "resnet152.prototxt"
    file.write_text(resnet152())
    with served(root, str(file)) as address:
        began = time.perf_counter()
        page = open_page(browser, address)
        nodes = page.evaluate("document.querySelectorAll('svg.graph .node').length")
        say(f"large: {nodes} boxes and all of the page", [1e3 * (time.perf_counter() - began)])
        for move in ("scroll", "hover"):
            say(f"large: a frame while one {move}s", page.evaluate(FRAMES, move))
        chosen = []
        for number in range(20, 220, 20):
            began = time.perf_counter()
            page.evaluate(CLICK, number)
            page.wait_for_function(f"{NODES}[{number}].classList.contains('chosen')")
            chosen.append(1e3 * (time.perf_counter() - began))
        say("large: a layer chosen", chosen)
        page.context.close()
    question = Question(Source(file.name, file.read_text()))
    stacks = load_stacks(root)
    began = time.perf_counter()
    answers(question, None, stacks)
    first = time.perf_counter()
    details(question, None, stacks[0])
    say("worker: boards of ResNet-152", [1e3 * (first - began)])
    say("worker: layers and layout of it", [1e3 * (time.perf_counter() - first)])


def parts(root):
    """What the worker takes for an answer, without the way to it and back."""
    stacks = load_stacks(root)
    text = NETWORK.read_text()
    runs = {
        "network": network_of,
        "boards": lambda question: answers(question, None, stacks),
        "details": lambda question: details(question, None, stacks[0]),
        "trials": lambda question: trials(question, stacks[0], root),
    }
    found = {name: [] for name in runs}
    for number in range(20):
        question = Question(Source(NETWORK.name, text.replace(LAYER, f"{LAYER[:-3]}{512 + number}")))
        for name, run in runs.items():
            began = time.perf_counter()
            run(question)
            found[name].append(1e3 * (time.perf_counter() - began))
    for name, times in found.items():
        say(f"worker: {name}", times)


def say(what, times_ms):
    print(
        f"{what:42} median {statistics.median(times_ms):7.0f} ms"
        f"   from {min(times_ms):6.0f} to {max(times_ms):6.0f} ({len(times_ms)})",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["start", "parts", "keys", "large"])
    only = parser.parse_args().only
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        root = Path(folder)
        (root / "config").mkdir()
        shutil.copytree(HERE / "config" / "networks", root / "config" / "networks")
        if only in (None, "start"):
            start(root, browser)
        if only in (None, "parts"):
            parts(root)
        if only in (None, "keys"):
            keys(root, browser)
        if only in (None, "large"):
            large(root, browser)
