"""An architecture search: 2,000 variants of MobileNet v1, two boards, a time budget on each, and the Pareto front.

    python docs/examples/search.py [FOLDER] [--variants N] [--tx1-ms X] [--rk3399-ms X]

It prints the best variants within both budgets and writes `search.csv` and `search.html` into FOLDER (default: the
current one). No board and no measurement is needed: models of both boards ship with SiteCNN. The tests run this file.
"""

import argparse
import random
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from sitecnn import Network, NetworkBuilder, estimate_many, load_board
from sitecnn.network.builder import Value
from sitecnn.workload.kernels import macs

# Channels and stride of each block of MobileNet v1 (arXiv 1704.04861, table 1).
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.25)
IMAGE_SIZES = (128, 160, 192, 224)


def variant(name: str, image_size: int, widths: list[float]) -> Network:
    """A MobileNet v1 whose blocks have `widths` times their usual channels."""
    net = NetworkBuilder(name)

    def unit(x: Value, name: str, **settings: Any) -> Value:
        x = net.add("Convolution", x, name=name, bias_term=False, **settings)
        x = net.add("BatchNorm", x, name=f"{name}/bn")
        x = net.add("Scale", x, name=f"{name}/scale", bias_term=True)
        return net.add("ReLU", x, name=f"{name}/relu")

    x = unit(net.input(1, 3, image_size, image_size), "conv1", num_output=32, kernel_size=3, pad=1, stride=2)
    channels = 32
    for index, ((usual, stride), width) in enumerate(zip(BLOCKS, widths, strict=True), 2):
        x = unit(x, f"conv{index}/dw", num_output=channels, group=channels, kernel_size=3, pad=1, stride=stride)
        channels = max(8, round(usual * width / 8) * 8)
        x = unit(x, f"conv{index}", num_output=channels, kernel_size=1)
    x = net.add("Pooling", x, name="pool", pool="AVE", global_pooling=True)
    x = net.add("InnerProduct", x, name="fc", num_output=1000)
    net.add("Softmax", x, name="prob")
    return net.build()


def draw(count: int, seed: int = 1) -> dict[str, Network]:
    """So many variants, drawn at random, by a name that says what they are."""
    rng = random.Random(seed)
    networks = {}
    while len(networks) < count:
        image_size, widths = rng.choice(IMAGE_SIZES), [rng.choice(WIDTHS) for _ in BLOCKS]
        name = f"{image_size}-" + "".join(str(WIDTHS.index(width)) for width in widths)
        networks[name] = variant(name, image_size, widths)
    return networks


def quality(network: Network) -> float:
    """What to maximise. Put a predictor of accuracy here; without one, more work is taken to be better."""
    return sum(map(macs, network.layers)) / 1e6


def is_on_front(table: pd.DataFrame, costs: list[str]) -> pd.Series:
    """Whether no other variant is as good in all and better in one: less of each cost, more quality."""
    values = pd.concat([table[costs], -table["quality"]], axis=1).to_numpy()
    dominated = [((values <= row).all(axis=1) & (values < row).any(axis=1)).any() for row in values]
    return ~pd.Series(dominated, index=table.index)


def search(count: int, budgets_ms: dict[tuple[str, str], float]) -> pd.DataFrame:
    """A row per variant: `quality`, ms and MiB on each board, whether it `fits` all budgets and is on the `front`."""
    networks = draw(count)
    table = pd.DataFrame({"quality": {name: quality(network) for name, network in networks.items()}})
    fits = pd.Series(True, index=table.index)
    for (board, processor), budget_ms in budgets_ms.items():
        many = estimate_many(networks, load_board(board, processor)).to_frame()
        table[f"{board}_ms"] = many["estimate_ms"]
        table[f"{board}_mib"] = many["memory_bytes"] / 2**20
        # The upper end of the interval: a variant that may well be too slow does not fit.
        fits &= many["high_ms"] <= budget_ms
    table["fits"] = fits
    table["front"] = is_on_front(table, [f"{board}_ms" for board, _ in budgets_ms])
    return table


def plot(table: pd.DataFrame, budgets_ms: dict[tuple[str, str], float]) -> alt.HConcatChart:
    """Quality over time, a panel per board, with its budget and the Pareto front."""
    rows = table.rename_axis("variant").reset_index()
    kind = pd.Series("other", index=rows.index).mask(rows["fits"], "fits both").mask(rows["front"], "Pareto front")
    panels = []
    for (board, processor), budget_ms in budgets_ms.items():
        points = (
            alt.Chart(rows.assign(kind=kind))
            .mark_circle(size=22)
            .encode(
                x=alt.X(f"{board}_ms", title=f"ms on {board} {processor}"),
                y=alt.Y("quality", title="million multiply-accumulates"),
                color=alt.Color("kind", scale=alt.Scale(range=["#999999", "#0072b2", "#d55e00"]), title=None),
                tooltip=["variant", "quality", f"{board}_ms", f"{board}_mib"],
            )
        )
        budget = alt.Chart(pd.DataFrame({"ms": [budget_ms]})).mark_rule(strokeDash=[4, 4]).encode(x="ms")
        panels.append((points + budget).properties(width=360, height=300))
    return alt.hconcat(*panels)


def main() -> None:
    """Search, print the best, write the table and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--variants", type=int, default=80.0)
    parser.add_argument("--tx1-ms", type=float, default=80.0)
    parser.add_argument("--rk3399-ms", type=float, default=150.0)
    args = parser.parse_args()
    budgets_ms = {("tx1", "gpu"): args.tx1_ms, ("rk3399", "cpu"): args.rk3399_ms}
    alt.data_transformers.disable_max_rows()
    table = search(args.variants, budgets_ms)
    table.to_csv(args.folder / "search.csv", index_label="variant")
    plot(table, budgets_ms).save(args.folder / "search.html", inline=True)
    best = table[table["fits"]].nlargest(5, "quality")
    print(f"{len(table)} variants, {table['fits'].sum()} within both budgets, {table['front'].sum()} on the front")
    print(best.drop(columns=["fits", "front"]).round(1).to_string())


if __name__ == "__main__":
    main()
