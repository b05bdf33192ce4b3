(() => {
  "use strict";
  const specs = JSON.parse(document.getElementById("figures").textContent);

  // On a phone legends are one below the other, names have a line for each of their parts ("vgg16 on local cpu with ONNX
  // Runtime, batch 4", "random forest (nn-Meter)"), and the numbers and titles of an axis end where it does.
  const NARROW = 560, HALF_A_LABEL_PX = 24, TALLER = 1.5;
  const PARTS = "split(datum.label, / on | with |, (?![^(]*[)])| (?=[(])/)";
  const narrowed = ({ config, height, ...spec }) => ({ ...spec, config: {
    ...config,
    axis: { ...config.axis, labelLimit: 150 },
    axisX: { ...config.axisX, titleAnchor: "end", labelFlush: HALF_A_LABEL_PX, labelSeparation: 8 },
    axisYDiscrete: { labelExpr: PARTS },
    legend: { ...config.legend, columns: 1 },
  }, height: TALLER * height });

  // Charts follow the filter by two parameters of theirs; rows that are of no board or network stay.
  const NAMES = ["board", "network"];
  const chosen = Object.fromEntries(NAMES.map((name) => [name, ""]));
  const FILTER = NAMES.map((name) => ({ filter: `!${name} || !datum.${name} || datum.${name} == ${name}` }));
  const only = (part) => ({ ...part, transform: [...FILTER, ...(part.transform ?? [])] });
  const filterable = (spec) => ({
    ...(spec.layer ? { ...spec, layer: spec.layer.map(only) } : only(spec)),
    params: [...(spec.params ?? []), ...NAMES.map((name) => ({ name, value: chosen[name] }))],
  });
  const views = [];
  const lines = (view) => view.scale("y").domain().length;

  // Figures become interactive when they come near the window; their static drawings stay for printing.
  const draw = async (place) => {
    place.hidden = false;
    const wide = specs[place.dataset.figure];
    const spec = filterable(place.clientWidth < NARROW ? narrowed(wide) : wide);
    try {
      const { view } = await window.vegaEmbed(place.firstElementChild, spec, { renderer: "svg", actions: false, ast: true });
      views.push([view, view.height() / lines(view)]);
      place.parentElement.classList.add("drawn");
    } catch (error) {
      place.hidden = true;
      console.error(place.dataset.figure, error);
    }
  };
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      observer.unobserve(entry.target);
      draw(entry.target.querySelector(".live"));
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll("figure").forEach((figure) => observer.observe(figure));

  // Numbers sort by what they were made from, words by the alphabet; empty cells come last either way.
  const valueOf = (cell) => cell.dataset.v ?? (/^-?\d+$/.test(cell.textContent) ? cell.textContent : undefined);
  const compare = (one, other, sign) => {
    const [left, right] = [one, other].map(valueOf);
    if (left !== undefined && right !== undefined) return sign * (left - right);
    if (left !== undefined || right !== undefined) return left !== undefined ? -1 : 1;
    return sign * one.textContent.localeCompare(other.textContent, undefined, { numeric: true });
  };
  const sort = (table, index, head) => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => compare(a.cells[index], b.cells[index], descending ? -1 : 1));
    body.append(...rows);
  };
  document.querySelectorAll("table:not(.grid)").forEach((table) => {
    table.querySelectorAll("th").forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, index, head));
      head.append(button);
    });
  });

  // One choice of board and network for all chapters: what is of another is hidden, rows, tables, figures and marks.
  const filter = document.getElementById("filter");
  const others = (name) => [...document.querySelectorAll(`[data-${name}]`)];
  filter.addEventListener("change", () => {
    Object.assign(chosen, Object.fromEntries(new FormData(filter)));
    filter.querySelector("output").hidden = !chosen.board && !chosen.network;
    for (const [view, line] of views) {
      view.signal("board", chosen.board).signal("network", chosen.network).run();
      if (view.scale("y").bandwidth) view.height(Math.max(1, lines(view)) * line).run();
    }
    for (const element of new Set(Object.keys(chosen).flatMap(others))) {
      element.dataset.filtered = Object.entries(chosen).some(
        ([name, value]) => value && element.dataset[name] !== undefined && element.dataset[name] !== value);
    }
    for (const details of document.querySelectorAll("[data-filtered=false] > .repeated")) details.open = Boolean(chosen.board);
    for (const grid of document.querySelectorAll("table.grid")) {
      const shown = [...grid.tHead.rows[0].cells].map((cell) => cell.dataset.filtered !== "true");
      for (const row of grid.tBodies[0].rows) [...row.cells].forEach((cell, index) => { cell.hidden = !shown[index]; });
    }
  });

  document.querySelectorAll("details:not(.more)").forEach((details) => {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "Search";
    field.setAttribute("aria-label", `Search in: ${details.querySelector("summary").textContent}`);
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of details.querySelector("tbody").rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
      }
    });
    details.querySelector("summary").after(field);
  });
})();
